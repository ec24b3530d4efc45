/** Services: each feature once, by its short name; each field of a request of one type. */
import type { OnDemandView, ScalarType, Service } from '../definition.js';
import type { Check } from './run.js';

export function checkService(check: Check, service: Service): void {
  const path = `services.${service.name}`;
  check.name(service.name, path);
  const byName = new Map<string, string>();
  const views = new Set<OnDemandView>();
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
    if (found.view.kind === 'onDemand') views.add(found.view);
  }
  const asked = new Map<string, { view: string; type: ScalarType }>();
  for (const view of views)
    for (const [field, type] of Object.entries(view.request)) {
      const other = asked.get(field) ?? { view: view.name, type };
      asked.set(field, other);
      if (other.type !== type)
        check.add(
          'type',
          `${path}.features`,
          `"${other.view}" asks for the request field "${field}" as ${other.type}, "${view.name}" as ${type}: no request carries both`,
          'use one type, or rename one of the fields',
        );
    }
}
