/** Tags and categories: what a lab's `app=shop` is in vCenter, a tag `shop` of category `app`. */
import { randomUUID } from 'node:crypto';
import type { VcenterState } from '../state.ts';
import type { MoRef } from '../wire/values.ts';

/** Attaches a tag of the lab, `category=tag`, to an object; both are made where they are not there yet. */
export function attachTag(state: VcenterState, text: string, { $ref: type, id }: MoRef): void {
  const [category, tag] = text.includes('=')
    ? [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]
    : ['lab', text];
  let categoryRecord = state.categories.find((one) => one.name === category);
  if (!categoryRecord) {
    categoryRecord = {
      id: newTagId('Category'),
      name: category,
      description: '',
      cardinality: 'MULTIPLE',
      associableTypes: [],
    };
    state.categories.push(categoryRecord);
  }
  const { id: categoryId } = categoryRecord;
  let tagRecord = state.tags.find((one) => one.categoryId === categoryId && one.name === tag);
  if (!tagRecord) {
    tagRecord = { id: newTagId('Tag'), categoryId, name: tag, description: '' };
    state.tags.push(tagRecord);
  }
  if (!state.attachments.some((one) => one.tag === tagRecord.id && one.object.id === id)) {
    state.attachments.push({ tag: tagRecord.id, object: { type, id } });
  }
}

/** An id as vCenter's tagging service makes them. */
export function newTagId(type: 'Category' | 'Tag'): string {
  return `urn:vmomi:InventoryService${type}:${randomUUID()}:GLOBAL`;
}
