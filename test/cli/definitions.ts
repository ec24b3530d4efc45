/** The smallest definitions: their outline is all the CLI looks at. */
export const definitions = { entities: [], sources: [], views: [], services: [] };
