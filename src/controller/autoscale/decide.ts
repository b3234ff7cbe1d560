/**
 * The decision function: from the load of the members to the size that their pool shall have. Pure, and the only place
 * where that is decided. docs/design/autoscale.md says why it is as it is.
 */
import type { AutoscaleSpec, ScaleFigures } from '../../policy/autoscale.ts';

/** What is known of one member that is up and takes new connections. Null: nobody can say. */
export interface ServingLoad {
  connections: number | null;
  cpuPercent: number | null;
}

export interface Situation {
  /** Members there are or will be; those that leave are not counted. */
  size: number;
  /** Clones that are being made. */
  coming: number;
  leaving: number;
  serving: readonly ServingLoad[];
  /** Why figures cannot be relied on now, or null: then nothing is taken away. */
  distrust: string | null;
  /** How long the load has asked for more members, and for fewer, without a break. */
  highForMs: number;
  lowForMs: number;
  /** Since the last growth and the last removal; infinite where there was none. */
  sinceOutMs: number;
  sinceInMs: number;
}

/** Which way the load itself points, before time and bounds have their say. */
export interface Pressure {
  /** Members that the load asks for; null where nobody can say. */
  wanted: number | null;
  isHigh: boolean;
  isLow: boolean;
  /** `24 connections per member, target 10`. */
  text: string;
}

export interface Decision {
  /** The size that the pool shall have now. */
  target: number;
  /** One sentence for people, whether anything changes or not. */
  reason: string;
}

/** What the load asks for. Targets are weighed apart; the one that asks for most members counts. */
export function pressureOf(spec: AutoscaleSpec, situation: Situation): Pressure {
  const { connectionsPerMember, cpuPercent } = spec.targets;
  const signals: Signal[] = [];
  if (connectionsPerMember !== undefined) {
    signals.push(
      weigh(situation, 'connections', connectionsPerMember, spec.tolerancePercent, ' connections'),
    );
  }
  if (cpuPercent !== undefined) {
    signals.push(weigh(situation, 'cpuPercent', cpuPercent, spec.tolerancePercent, '% CPU'));
  }
  const known = signals.filter((signal) => signal.wanted !== null);
  return {
    wanted: known.length === 0 ? null : Math.max(...known.map((signal) => signal.wanted ?? 0)),
    isHigh: signals.some((signal) => signal.isHigh),
    // Every signal must say so, and say so for certain.
    isLow: signals.length > 0 && signals.every((signal) => signal.isLow),
    text: signals.map((signal) => signal.text).join('; '),
  };
}

interface Signal {
  wanted: number | null;
  isHigh: boolean;
  isLow: boolean;
  text: string;
}

function weigh(
  { serving, coming }: Situation,
  figure: keyof ServingLoad,
  target: number,
  tolerancePercent: number,
  unit: string,
): Signal {
  const values = serving.flatMap((member) => (member[figure] === null ? [] : [member[figure]]));
  if (values.length === 0) {
    return { wanted: null, isHigh: false, isLow: false, text: `nobody knows the${unit} per member` };
  }
  const unknown = serving.length - values.length;
  const sum = values.reduce((total, value) => total + value, 0);
  const tolerance = tolerancePercent / 100;
  // Clones that come will carry their part: what was asked for is not asked for again.
  const carriers = serving.length + coming;
  // A member of which nobody knows carries nothing where the pool may grow, and its full share where it may shrink.
  const isHigh = sum > carriers * target * (1 + tolerance);
  const isLow =
    coming === 0 &&
    serving.length > 1 &&
    sum + unknown * target <= (serving.length - 1) * target * (1 - tolerance);
  const average = Math.round((sum / values.length) * 10) / 10;
  const doubt = unknown > 0 ? `, unknown of ${unknown}` : '';
  return {
    wanted: Math.ceil(sum / target),
    isHigh,
    isLow,
    text: `${average}${unit} per member${doubt}, target ${target}`,
  };
}

/** The size that the pool shall have. */
export function decide(spec: AutoscaleSpec, situation: Situation): Decision {
  const { size } = situation;
  const stay = (reason: string): Decision => ({ target: size, reason });
  if (spec.size !== undefined) {
    if (size === spec.size) return stay(`${size} is the size that was asked for`);
    return { target: spec.size, reason: `${spec.size} is the size that was asked for` };
  }
  if (size < spec.min) return { target: spec.min, reason: `${size} members are fewer than min, ${spec.min}` };
  if (size > spec.max) return { target: spec.max, reason: `${size} members are more than max, ${spec.max}` };
  const pressure = pressureOf(spec, situation);
  if (pressure.text === '') return stay(`${size} members: no target says that there should be more`);
  if (pressure.isHigh) return grow(spec, situation, pressure);
  if (pressure.isLow) return shrink(spec, situation, pressure);
  return stay(pressure.text);
}

function grow(spec: AutoscaleSpec, situation: Situation, pressure: Pressure): Decision {
  const { size, serving, coming, highForMs, sinceOutMs } = situation;
  const { afterMs, cooldownMs, step } = spec.scaleOut;
  const stay = (why: string): Decision => ({ target: size, reason: `${pressure.text}; ${why}` });
  if (size >= spec.max) return stay(`${size} members are as many as max allows`);
  if (highForMs < afterMs) return stay(`it grows after ${seconds(afterMs - highForMs)} more of this`);
  if (sinceOutMs < cooldownMs)
    return stay(`it grew lately and may again in ${seconds(cooldownMs - sinceOutMs)}`);
  // Members that are down count for the size, and not for what is carried.
  const missing = Math.max(1, (pressure.wanted ?? 0) - serving.length - coming);
  const target = Math.min(spec.max, size + Math.min(step, missing));
  return { target, reason: pressure.text };
}

function shrink(spec: AutoscaleSpec, situation: Situation, pressure: Pressure): Decision {
  const { size, serving, distrust, lowForMs, sinceInMs, sinceOutMs } = situation;
  const { afterMs, cooldownMs, step } = spec.scaleIn;
  const stay = (why: string): Decision => ({ target: size, reason: `${pressure.text}; ${why}` });
  if (size <= spec.min) return stay(`${size} members are as few as min allows`);
  if (distrust !== null) return stay(`nothing is taken away while ${distrust}`);
  if (lowForMs < afterMs) return stay(`it shrinks after ${seconds(afterMs - lowForMs)} more of this`);
  const sinceMs = Math.min(sinceInMs, sinceOutMs);
  if (sinceMs < cooldownMs)
    return stay(`it changed lately and may shrink in ${seconds(cooldownMs - sinceMs)}`);
  const surplus = Math.max(1, serving.length - Math.max(1, pressure.wanted ?? serving.length));
  const target = Math.max(spec.min, size - Math.min(step, surplus));
  return { target, reason: pressure.text };
}

/** The figures of a situation, as they are shown and kept with a decision. */
export function figuresOf(situation: Situation): ScaleFigures {
  const { size, coming, leaving, serving } = situation;
  const average = (figure: keyof ServingLoad): number | null => {
    const values = serving.flatMap((member) => (member[figure] === null ? [] : [member[figure]]));
    if (values.length === 0) return null;
    return Math.round((values.reduce((sum, value) => sum + value, 0) / values.length) * 10) / 10;
  };
  return {
    size,
    serving: serving.length,
    coming,
    leaving,
    connectionsPerMember: average('connections'),
    cpuPercent: average('cpuPercent'),
  };
}

function seconds(ms: number): string {
  return ms < 120_000 ? `${Math.ceil(ms / 1000)} s` : `${Math.ceil(ms / 60_000)} min`;
}
