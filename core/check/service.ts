/** Services: each feature once, by its short name. */
import type { Service } from '../definition.js';
import type { Check } from './run.js';

export function checkService(check: Check, service: Service): void {
  const path = `services.${service.name}`;
  check.name(service.name, path);
  const byName = new Map<string, string>();
  for (const ref of service.features) {
    const found = check.reference(ref, `${path}.features`);
    if (!found) continue;
    const other = byName.get(found.feature.name);
    if (other !== undefined)
      check.add(
        'duplicate',
        `${path}.features`,
        other === ref ? `lists "${ref}" twice` : `"${other}" and "${ref}" have one short name`,
        'remove or rename one of them',
      );
    byName.set(found.feature.name, ref);
  }
}
