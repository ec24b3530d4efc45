/** Owners: how they are reached, and what is left behind by those who are gone. */
import type { Definitions, Owner } from '../definition.js';
import type { Check } from './run.js';

export function checkOwners(check: Check, definitions: Definitions): void {
  const known = new Map<string, Owner>();
  for (const owner of definitions.owners ?? []) {
    // canonical text is NFC: two spellings of one name are one
    const name = owner.name.normalize('NFC');
    if (known.has(name) && owner.name !== known.get(name)!.name)
      check.add(
        'duplicate',
        `owners.${owner.name}`,
        'is another spelling of an owner',
        'write the name once',
      );
    known.set(name, owner);
  }
  for (const [name, items] of ownedBy(definitions)) {
    const owner = known.get(name);
    if (owner?.hasLeft)
      check.add('owner-left', `owners.${name}`, `has left and owns ${items.join(', ')}`, 'give it to others');
    else if (!owner && !name.includes('@'))
      check.add(
        'owner-contact',
        `owners.${name}`,
        `owns ${items[0]}${items.length === 1 ? '' : ` and ${items.length - 1} more`}, and nothing says how to reach them`,
        `give define its contact, owners: [{ name: '${name}', contact: … }], or name an address as owner`,
      );
  }
}

/** By owner what is theirs: `view "user_orders"`. */
function ownedBy({ entities, sources, views, services }: Definitions): Map<string, string[]> {
  const owned = new Map<string, string[]>();
  for (const [kind, items] of Object.entries({
    entity: entities,
    source: sources,
    view: views,
    service: services,
  }))
    for (const { name, owner } of items) {
      const key = owner.normalize('NFC');
      if (!owned.has(key)) owned.set(key, []);
      owned.get(key)!.push(`${kind} "${name}"`);
    }
  return owned;
}
