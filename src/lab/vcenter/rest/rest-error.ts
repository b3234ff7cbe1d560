/** An answer of the REST services that is not 200. */
export class RestError extends Error {
  readonly status: number;
  readonly type: string;

  constructor(status: number, type: string, message: string) {
    super(message);
    this.status = status;
    this.type = type;
  }
}

export function notFound(what: string): RestError {
  return new RestError(404, 'NOT_FOUND', `there is no ${what}`);
}

export function alreadyExists(what: string): RestError {
  return new RestError(400, 'ALREADY_EXISTS', `${what} is there already`);
}
