// Made from the OpenAPI document of the registry by `npm run client`.

export interface paths {
    "/v1/definitions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** what is applied */
        get: operations["getDefinitions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plan": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** what definitions would change */
        post: operations["planDefinitions"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/apply": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** change it → run */
        post: operations["applyDefinitions"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plans/{hash}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** a plan that was to be applied, and how far it came */
        get: operations["getPlan"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/revisions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** what was applied, when and by whom */
        get: operations["listRevisions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/features": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** everything known about features */
        get: operations["listFeatures"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/features/{view}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** everything known about those of one version */
        get: operations["getViewFeatures"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/features/{view}/{feature}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** everything known about one */
        get: operations["getFeature"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/lineage/{kind}/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** what something is made of, or what is made of it */
        get: operations["getLineage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** who changed what, newest first */
        get: operations["listAudit"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** the whole registry as files */
        get: operations["exportRegistry"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** such files into an empty registry */
        post: operations["restoreRegistry"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/files": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** upload a file */
        post: operations["uploadFile"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/imports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** which there are, and how far they are */
        get: operations["listImports"];
        put?: never;
        /** a file or a table into the archive → run */
        post: operations["startImport"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/versions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** every version of every view */
        get: operations["listVersions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/views/{view}/progress": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** how far a view is */
        get: operations["getViewProgress"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/backfills": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** history of a view version → run */
        post: operations["startBackfill"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/materializations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** one tick of a view → run */
        post: operations["startMaterialization"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/refills": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** its records in Redis → run */
        post: operations["startRefill"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/views/{view}/retire": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** the end of a version that nobody reads; its name is typed again → run */
        post: operations["retireVersion"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** models, their locks, and what they read last */
        get: operations["listModels"];
        put?: never;
        /** register a model on live versions, or on those of a lock → run */
        post: operations["registerModel"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models/{model}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** a model: its locks, and its reads of each version */
        get: operations["getModel"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models/{model}/lock": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** its lock, as almanac.lock holds it, or one on what is live now */
        get: operations["getModelLock"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models/{model}/pin": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** move a model to a lock, or a share of its requests; promote or abort its canary → run */
        post: operations["pinModel"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models/{model}/remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** a model that reads nothing any more; its name is typed again → run */
        post: operations["removeModel"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/views/{view}/statistics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** of each feature of a view: counts, range, quantiles, the most frequent values */
        get: operations["getViewStatistics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/views/{view}/expectations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** what came of a view’s expectations; newest first */
        get: operations["listExpectationResults"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/training-sets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** which there are */
        get: operations["listTrainingSets"];
        put?: never;
        /** features of past moments into a file → run */
        post: operations["startTrainingSet"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/training-sets/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** its manifest */
        get: operations["getTrainingSet"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/training-sets/{id}/file": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** its file */
        get: operations["downloadTrainingSet"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/verifications": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** which there are */
        get: operations["listVerifications"];
        put?: never;
        /** compare everything with the oracle → run */
        post: operations["startVerification"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/verifications/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** what was compared, and where it differs */
        get: operations["getVerification"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/push": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** rows into a source's topic, in Feast's shape */
        post: operations["pushRows"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** how a run does */
        get: operations["getRun"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/updates": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** pause or resume it, drain a stream */
        post: operations["updateRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/streams": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** pause, resume, drain the stream of a source */
        post: operations["orderStream"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** sources, imports, streams, versions and what runs, at a glance */
        get: operations["getStatus"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** whether the process can work: 200, or 503 with what is wrong */
        get: operations["getHealth"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Prometheus metrics */
        get: operations["getMetrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** this API in OpenAPI 3.1 */
        get: operations["getOpenApi"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        AuditItem: {
            id: number;
            /** Format: date-time */
            at: string;
            who: string;
            action: string;
            kind: string;
            name: string;
            before: unknown;
            after: unknown;
            planHash: string | null;
            workflow: string | null;
        };
        Started: {
            run: string;
        };
        Problem: {
            type: string;
            title: string;
            status: number;
            /** @enum {string} */
            code: "FS_CONFIG_MISSING" | "FS_CONFIG_INVALID" | "FS_UNAVAILABLE" | "FS_DEADLINE" | "FS_DISK_FULL" | "FS_INTERNAL" | "FS_REQUEST_INVALID" | "FS_REQUEST_TOO_LARGE" | "FS_NOT_FOUND" | "FS_CONFLICT" | "FS_PRECONDITION_FAILED" | "FS_DEFINITION_INVALID" | "FS_NAME_INVALID" | "FS_LOCK_INVALID" | "FS_DATA_INVALID" | "FS_TIMESTAMP_INVALID" | "FS_KEY_INVALID" | "FS_BEHIND_BASELINE" | "FS_EXPECTATION_FAILED" | "FS_LAYOUT_UNKNOWN" | "FS_RECORD_CORRUPT" | "FS_FENCED" | "FS_PLAN_STALE" | "FS_NOT_READY" | "FS_PARITY" | "FS_RUN_FAILED";
            fix: string;
        } & {
            [key: string]: unknown;
        };
        ExpectationResult: {
            expectation: string;
            feature: string | null;
            /** @enum {string} */
            severity: "warn" | "block";
            /** @enum {string} */
            what: "tick" | "backfill" | "stream";
            reference: string;
            /** Format: date-time */
            at: string;
            passed: boolean;
            observed: number | null;
            allowed: number;
            said: string;
        };
        FailedExpectation: {
            expectation: string;
            feature: string | null;
            /** @enum {string} */
            severity: "warn" | "block";
            /** @enum {string} */
            what: "tick" | "backfill" | "stream";
            reference: string;
            /** Format: date-time */
            at: string;
            passed: boolean;
            observed: number | null;
            allowed: number;
            said: string;
            view: string;
            version: number;
        };
        CatalogFeature: {
            view: string;
            version: number;
            feature: string;
            /** @enum {string} */
            kind: "aggregation" | "sql" | "onDemand";
            /** @enum {string} */
            state: "draft" | "backfilling" | "shadow" | "canary" | "live" | "deprecated" | "retired" | "abandoned";
            description: string;
            owner: string;
            contact: string | null;
            tags: string[];
            entities: string[];
            keys: string[];
            sources: string[];
            reads: string[];
            transformation: string;
            exact: {
                [key: string]: unknown;
            };
            output: {
                type: components["schemas"]["FeatureType"];
                nullable: boolean;
                min: number | null;
                max: number | null;
                allowed: (string | number | boolean)[] | null;
            };
            expectations: components["schemas"]["Expectation"][];
            computed: string;
            freshness: {
                /** @enum {string} */
                tier: "realtime" | "hourly" | "daily";
                expectedEveryMs: number;
            } | null;
            ttlMs: number | null;
            coldStart: components["schemas"]["FeatureLiteral"];
            statistics: {
                /** @enum {string} */
                what: "tick" | "backfill" | "training-set" | "served";
                reference: string;
                /** Format: date-time */
                at: string;
                count: number;
                nulls: number;
                min: number | null;
                max: number | null;
                mean: number | null;
                deviation: number | null;
                p1: number | null;
                p5: number | null;
                p25: number | null;
                p50: number | null;
                p75: number | null;
                p95: number | null;
                p99: number | null;
                distinct: number | null;
                top: {
                    value: string | number | boolean;
                    count: number;
                }[] | null;
                topMissed: number | null;
            } | null;
            expectationResults: components["schemas"]["ExpectationResult"][];
            progress: {
                lastTick: string | null;
                lastEvent: string | null;
                lastWrite: string | null;
                watermark: string | null;
            };
            models: string[];
            lastRead: string | null;
        };
        Lineage: {
            /** @enum {string} */
            kind: "table" | "topic" | "source" | "column" | "entity" | "request" | "view" | "feature" | "service" | "model" | "trainingSet";
            name: string;
            /** @enum {string} */
            direction: "up" | "down";
            edges: {
                from: {
                    /** @enum {string} */
                    kind: "table" | "topic" | "source" | "column" | "entity" | "request" | "view" | "feature" | "service" | "model" | "trainingSet";
                    name: string;
                };
                to: {
                    /** @enum {string} */
                    kind: "table" | "topic" | "source" | "column" | "entity" | "request" | "view" | "feature" | "service" | "model" | "trainingSet";
                    name: string;
                };
                versions: number[];
            }[];
        };
        Plan: {
            baseRevision: number;
            definitionsHash: string;
            changes: ({
                /** @constant */
                kind: "project";
                name: string;
                /** @constant */
                action: "create";
                fields: [
                ];
                definition: {
                    name: string;
                };
            } | {
                /** @constant */
                kind: "project";
                name: string;
                /** @constant */
                action: "change";
                fields: {
                    path: string;
                    before?: unknown;
                    after?: unknown;
                }[];
                definition: {
                    name: string;
                };
            } | {
                /** @constant */
                kind: "project";
                name: string;
                /** @constant */
                action: "remove";
                fields: [
                ];
                definition: null;
            } | {
                /** @constant */
                kind: "policy";
                name: string;
                /** @constant */
                action: "create";
                fields: [
                ];
                definition: {
                    name: string;
                    severity: components["schemas"]["RuleSeverity"];
                };
            } | {
                /** @constant */
                kind: "policy";
                name: string;
                /** @constant */
                action: "change";
                fields: {
                    path: string;
                    before?: unknown;
                    after?: unknown;
                }[];
                definition: {
                    name: string;
                    severity: components["schemas"]["RuleSeverity"];
                };
            } | {
                /** @constant */
                kind: "policy";
                name: string;
                /** @constant */
                action: "remove";
                fields: [
                ];
                definition: null;
            } | {
                /** @constant */
                kind: "owner";
                name: string;
                /** @constant */
                action: "create";
                fields: [
                ];
                definition: components["schemas"]["Owner"];
            } | {
                /** @constant */
                kind: "owner";
                name: string;
                /** @constant */
                action: "change";
                fields: {
                    path: string;
                    before?: unknown;
                    after?: unknown;
                }[];
                definition: components["schemas"]["Owner"];
            } | {
                /** @constant */
                kind: "owner";
                name: string;
                /** @constant */
                action: "remove";
                fields: [
                ];
                definition: null;
            } | {
                /** @constant */
                kind: "entity";
                name: string;
                /** @constant */
                action: "create";
                fields: [
                ];
                definition: components["schemas"]["Entity"];
            } | {
                /** @constant */
                kind: "entity";
                name: string;
                /** @constant */
                action: "change";
                fields: {
                    path: string;
                    before?: unknown;
                    after?: unknown;
                }[];
                definition: components["schemas"]["Entity"];
            } | {
                /** @constant */
                kind: "entity";
                name: string;
                /** @constant */
                action: "remove";
                fields: [
                ];
                definition: null;
            } | {
                /** @constant */
                kind: "source";
                name: string;
                /** @constant */
                action: "create";
                fields: [
                ];
                definition: components["schemas"]["Source"];
            } | {
                /** @constant */
                kind: "source";
                name: string;
                /** @constant */
                action: "change";
                fields: {
                    path: string;
                    before?: unknown;
                    after?: unknown;
                }[];
                definition: components["schemas"]["Source"];
            } | {
                /** @constant */
                kind: "source";
                name: string;
                /** @constant */
                action: "remove";
                fields: [
                ];
                definition: null;
            } | {
                /** @enum {string} */
                action: "create" | "change" | "version" | "remove";
                /** @constant */
                kind: "view";
                name: string;
                definition: components["schemas"]["View"] | null;
                version: number;
                hash: string;
                reused: boolean;
                replaces: number | null;
                fields: {
                    path: string;
                    before?: unknown;
                    after?: unknown;
                }[];
                succession: ("same" | "fix" | "breaking" | "undeclared") | null;
                touched: {
                    services: string[];
                    models: {
                        name: string;
                        owner: string;
                        services: string[];
                        version: number;
                        retrain: boolean;
                    }[];
                    trainingSets: string[];
                };
                rowsToScan: number | null;
                estimate: {
                    minutes: number | null;
                    postgresBytes: number | null;
                    redisBytes: number | null;
                };
            } | {
                /** @constant */
                kind: "service";
                name: string;
                /** @constant */
                action: "create";
                fields: [
                ];
                definition: components["schemas"]["Service"];
            } | {
                /** @constant */
                kind: "service";
                name: string;
                /** @constant */
                action: "change";
                fields: {
                    path: string;
                    before?: unknown;
                    after?: unknown;
                }[];
                definition: components["schemas"]["Service"];
            } | {
                /** @constant */
                kind: "service";
                name: string;
                /** @constant */
                action: "remove";
                fields: [
                ];
                definition: null;
            })[];
            firstRead: {
                view: string;
                version: number;
                estimate: {
                    minutes: number | null;
                    postgresBytes: number | null;
                    redisBytes: number | null;
                };
            }[];
            warnings: {
                path: string;
                message: string;
                code?: string;
                fix?: string;
            }[];
            hash: string;
            empty: boolean;
        };
        Revision: {
            revision: number;
            definitionsHash: string;
            planHash: string;
            appliedBy: string;
            /** Format: date-time */
            appliedAt: string;
        };
        StreamStatus: {
            source: string;
            partition: number;
            topic: string;
            /** @enum {string} */
            state: "waiting" | "running" | "paused" | "drained" | "silent";
            /** @enum {string} */
            wanted: "run" | "pause" | "drain";
            reason: string | null;
            offset: number;
            end: number | null;
            lag: number | null;
            watermark: string | null;
            ratePerSecond: number | null;
            counts: {
                [key: string]: number;
            };
            owed: number;
            seenAt: string | null;
        };
        SourceStatus: {
            source: string;
            input: string;
            origin: string | null;
            owner: string;
            events: number;
            finishedImports: number;
        };
        ImportStatus: {
            id: number;
            source: string;
            name: string;
            origin: string | null;
            /** @enum {string} */
            state: "running" | "finished";
            shiftMs: number;
            until: string | null;
            counts: {
                [key: string]: number;
            };
            bytesDone: number;
            bytesTotal: number;
            rowsDone: number;
            rowsTotal: number;
            /** Format: date-time */
            startedAt: string;
            finishedAt: string | null;
        };
        ViewStatus: {
            view: string;
            version: number;
            versionId: number;
            /** @enum {string} */
            state: "draft" | "backfilling" | "shadow" | "canary" | "live" | "deprecated" | "retired" | "abandoned";
            online: boolean;
            /** @enum {string} */
            kind: "aggregation" | "sql" | "onDemand";
            entity: string | null;
            source: string | null;
            owner: string;
            freshness: string | null;
            lastTick: string | null;
            lastEvent: string | null;
            lastWrite: string | null;
            sequence: number | null;
            entities: number | null;
            chunksDone: number | null;
            chunks: number | null;
        };
        ViewProgress: {
            view: string;
            version: number;
            versionId: number;
            /** @enum {string} */
            state: "draft" | "backfilling" | "shadow" | "canary" | "live" | "deprecated" | "retired" | "abandoned";
            online: boolean;
            sequence: number | null;
            lastTick: string | null;
            lastEvent: string | null;
            lastWrite: string | null;
            watermark: string | null;
            entities: number;
            rows: number;
            backfills: {
                id: number;
                /** Format: date-time */
                start: string;
                /** Format: date-time */
                end: string;
                /** @enum {string} */
                state: "running" | "finished" | "blocked";
                chunksDone: number;
                chunks: number;
                events: number;
                entities: number;
                rows: number;
            }[];
        };
        Lock: {
            /** @constant */
            lock: 1;
            model: string;
            services: {
                [key: string]: {
                    [key: string]: {
                        version: number;
                        hash: string;
                    };
                };
            };
            features: {
                [key: string]: string[];
            };
        };
        Model: {
            name: string;
            owner: string;
            description: string;
            /** Format: date-time */
            registeredAt: string;
            registeredBy: string;
            change: number;
            locks: {
                number: number;
                /** @enum {string} */
                state: "live" | "canary" | "past";
                share: number;
                services: {
                    [key: string]: {
                        [key: string]: {
                            version: number;
                            hash: string;
                        };
                    };
                };
                features: {
                    [key: string]: string[];
                };
                trainedOn: string[];
                /** Format: date-time */
                createdAt: string;
                createdBy: string;
            }[];
            reads: number;
            lastRead: string | null;
        };
        ModelDetails: {
            name: string;
            owner: string;
            description: string;
            /** Format: date-time */
            registeredAt: string;
            registeredBy: string;
            change: number;
            locks: {
                number: number;
                /** @enum {string} */
                state: "live" | "canary" | "past";
                share: number;
                services: {
                    [key: string]: {
                        [key: string]: {
                            version: number;
                            hash: string;
                        };
                    };
                };
                features: {
                    [key: string]: string[];
                };
                trainedOn: string[];
                /** Format: date-time */
                createdAt: string;
                createdBy: string;
            }[];
            reads: number;
            lastRead: string | null;
            readsOf: {
                service: string;
                view: string;
                version: number;
                reads: number;
                /** Format: date-time */
                lastRead: string;
            }[];
        };
        Progress: {
            done: number;
            total: number | null;
            unit: string;
            ratePerSecond: number | null;
            message: string;
            counts?: {
                [key: string]: number;
            };
        };
        Run: {
            id: string;
            workflow: string;
            /** @enum {string} */
            state: "running" | "completed" | "failed" | "cancelled" | "terminated" | "timed-out";
            /** Format: date-time */
            startedAt: string;
            closedAt: string | null;
            progress: components["schemas"]["Progress"] | null;
            result: unknown;
            error: {
                code: string;
                message: string;
                details: {
                    [key: string]: unknown;
                };
            } | null;
            uiUrl: string | null;
        };
        RunningRun: {
            id: string;
            workflow: string;
            /** Format: date-time */
            startedAt: string;
            uiUrl: string | null;
        };
        TrainingSet: {
            id: string;
            manifest: {
                [key: string]: unknown;
            };
            /** Format: date-time */
            createdAt: string;
        };
        TrainingSetItem: {
            id: string;
            service: string | null;
            mode: string | null;
            rows: number | null;
            /** Format: date-time */
            createdAt: string;
        };
        Verification: {
            id: string;
            finished: boolean;
            checked: number;
            different: number;
            neverBackfilled: string[];
            owed: string[];
            unread: string[];
            byPath: {
                [key: string]: {
                    checked: number;
                    different: number;
                    values: number;
                };
            };
            byView: {
                [key: string]: {
                    [key: string]: {
                        checked: number;
                        different: number;
                        values: number;
                    };
                };
            };
            differences: {
                [key: string]: unknown;
            }[];
            input: {
                [key: string]: unknown;
            };
            /** Format: date-time */
            createdAt: string;
        };
        Version: {
            view: string;
            version: number;
            versionId: number;
            /** @enum {string} */
            kind: "aggregation" | "sql" | "onDemand";
            hash: string;
            /** @enum {string} */
            state: "draft" | "backfilling" | "shadow" | "canary" | "live" | "deprecated" | "retired" | "abandoned";
            /** Format: date-time */
            createdAt: string;
        };
        /** @enum {string} */
        ScalarType: "string" | "int64" | "float64" | "bool" | "timestamp";
        /** @enum {string} */
        ColumnType: "string" | "int64" | "float64" | "bool" | "timestamp" | "list<string>" | "list<int64>" | "list<float64>";
        /** @enum {string} */
        FeatureType: "string" | "int64" | "float64" | "bool" | "timestamp" | "list<string>" | "list<int64>" | "list<float64>" | "map<string,string>" | "map<string,int64>" | "map<string,float64>";
        Literal: string | number | boolean | null;
        FeatureLiteral: components["schemas"]["Literal"] | (string | number)[] | {
            [key: string]: string | number;
        };
        Expression: {
            col: string;
        } | {
            lit: components["schemas"]["Literal"];
        } | {
            /** @enum {string} */
            op: "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "and" | "or" | "not" | "isNull" | "in" | "add" | "sub" | "mul" | "div" | "coalesce" | "hash" | "lower" | "length" | "contains" | "now";
            args: components["schemas"]["Expression"][];
        };
        Entity: {
            name: string;
            description: string;
            owner: string;
            /** @default [] */
            tags: string[];
            keys: {
                name: string;
                /** @enum {string} */
                type: "string" | "int64";
            }[];
        };
        Source: {
            name: string;
            description: string;
            owner: string;
            /** @default [] */
            tags: string[];
            origin: string | null;
            /** @enum {string} */
            kind: "append" | "snapshot";
            input: {
                /** @constant */
                type: "file";
                /** @enum {string} */
                format: "csv" | "arrow";
            } | {
                /** @constant */
                type: "table";
                connection: string;
                table: string;
            } | {
                /** @constant */
                type: "topic";
                topic: string;
            };
            stream?: {
                topic: string;
                cutAtMs: number;
                columns?: {
                    [key: string]: {
                        type: components["schemas"]["ColumnType"];
                        nullable: boolean;
                        length?: number;
                    };
                };
            };
            columns: {
                [key: string]: {
                    type: components["schemas"]["ColumnType"];
                    nullable: boolean;
                    length?: number;
                };
            };
            eventTime: string;
            arrival: string | null;
            id: string | null;
            sequence: string | null;
            retracts?: string;
            arrivalDelayMs: number;
            allowedLatenessMs: number;
            maxFutureMs: number;
            dedupeMs: number;
            retentionMs: number | null;
        };
        Window: {
            /** @constant */
            type: "sliding";
            ms: number;
            hopMs: number;
        } | {
            /** @constant */
            type: "hopping";
            ms: number;
            hopMs: number;
        } | {
            /** @constant */
            type: "tumbling";
            ms: number;
        } | {
            /** @constant */
            type: "calendar";
            /** @enum {string} */
            unit: "day" | "week" | "month";
            zone: string;
        } | {
            /** @constant */
            type: "session";
            gapMs: number;
        } | {
            /** @constant */
            type: "lifetime";
        };
        RatioSide: {
            /** @constant */
            op: "count";
            where: components["schemas"]["Expression"] | null;
        } | {
            /** @constant */
            op: "sum";
            value: components["schemas"]["Expression"];
            where: components["schemas"]["Expression"] | null;
        } | {
            /** @constant */
            op: "distinct";
            value: components["schemas"]["Expression"];
            limit?: number;
            where: components["schemas"]["Expression"] | null;
        };
        BucketAggregation: {
            /** @constant */
            op: "count";
        } | {
            /** @constant */
            op: "sum";
            value: components["schemas"]["Expression"];
        } | {
            /** @constant */
            op: "mean";
            value: components["schemas"]["Expression"];
        } | {
            /** @constant */
            op: "min";
            value: components["schemas"]["Expression"];
        } | {
            /** @constant */
            op: "max";
            value: components["schemas"]["Expression"];
        } | {
            /** @constant */
            op: "last";
            value: components["schemas"]["Expression"];
        };
        Aggregation: {
            /** @constant */
            op: "count";
        } | {
            /** @constant */
            op: "sum";
            value: components["schemas"]["Expression"];
        } | {
            /** @constant */
            op: "mean";
            value: components["schemas"]["Expression"];
        } | {
            /** @constant */
            op: "decayedSum";
            value: components["schemas"]["Expression"];
            halfLifeMs: number;
        } | {
            /** @constant */
            op: "decayedCount";
            halfLifeMs: number;
        } | {
            /** @constant */
            op: "variance";
            value: components["schemas"]["Expression"];
            population: boolean;
        } | {
            /** @constant */
            op: "stddev";
            value: components["schemas"]["Expression"];
            population: boolean;
        } | {
            /** @constant */
            op: "min";
            value: components["schemas"]["Expression"];
        } | {
            /** @constant */
            op: "max";
            value: components["schemas"]["Expression"];
        } | {
            /** @constant */
            op: "last";
            value: components["schemas"]["Expression"];
        } | {
            /** @constant */
            op: "lastN";
            value: components["schemas"]["Expression"];
            n: number;
        } | {
            /** @constant */
            op: "first";
            value: components["schemas"]["Expression"];
        } | {
            /** @constant */
            op: "firstN";
            value: components["schemas"]["Expression"];
            n: number;
        } | {
            /** @constant */
            op: "distinct";
            value: components["schemas"]["Expression"];
            limit?: number;
        } | {
            /** @constant */
            op: "approxDistinct";
            value: components["schemas"]["Expression"];
            exactTo: number;
        } | {
            /** @constant */
            op: "topK";
            key: components["schemas"]["Expression"];
            weight: components["schemas"]["Expression"] | null;
            k: number;
        } | {
            /** @constant */
            op: "histogram";
            value: components["schemas"]["Expression"];
            edges: number[];
        } | {
            /** @constant */
            op: "percentile";
            value: components["schemas"]["Expression"];
            quantile: number;
        } | {
            /** @constant */
            op: "bucketed";
            by: components["schemas"]["Expression"];
            aggregation: components["schemas"]["BucketAggregation"];
            limit: number;
        } | {
            /** @constant */
            op: "cart";
            item: components["schemas"]["Expression"];
            add: components["schemas"]["Expression"];
            remove: components["schemas"]["Expression"];
            clear: components["schemas"]["Expression"] | null;
            limit: number;
        } | {
            /** @constant */
            op: "ratio";
            numerator: components["schemas"]["RatioSide"];
            denominator: components["schemas"]["RatioSide"];
        } | {
            /** @constant */
            op: "timeSince";
            /** @enum {string} */
            edge: "first" | "last";
            unitMs: number;
        };
        AggregationFeature: {
            name: string;
            description: string;
            type: components["schemas"]["FeatureType"];
            coldStart: components["schemas"]["FeatureLiteral"];
            nameException: string | null;
            where: components["schemas"]["Expression"] | null;
            window: components["schemas"]["Window"];
            aggregation: components["schemas"]["Aggregation"];
        };
        Sessions: {
            gapMs: number;
            where: components["schemas"]["Expression"] | null;
            sums: {
                name: string;
                value: components["schemas"]["Expression"];
            }[];
        };
        /** @enum {string} */
        Succession: "same" | "fix" | "breaking";
        Expectation: {
            /** @constant */
            type: "nullRate";
            feature: string;
            max: number;
            /** @enum {string} */
            severity: "warn" | "block";
        } | {
            /** @constant */
            type: "range";
            feature: string;
            min: number | null;
            max: number | null;
            /** @enum {string} */
            severity: "warn" | "block";
        } | {
            /** @constant */
            type: "allowed";
            feature: string;
            values: (string | number | boolean)[];
            /** @enum {string} */
            severity: "warn" | "block";
        } | {
            /** @constant */
            type: "unique";
            /** @enum {string} */
            severity: "warn" | "block";
        } | {
            /** @constant */
            type: "freshness";
            maxAgeMs: number;
            /** @enum {string} */
            severity: "warn" | "block";
        } | {
            /** @constant */
            type: "rowCount";
            maxChange: number;
            /** @enum {string} */
            severity: "warn" | "block";
        };
        AggregationView: {
            /** @constant */
            kind: "aggregation";
            name: string;
            description: string;
            owner: string;
            /** @default [] */
            tags: string[];
            succeeds?: {
                version: number;
                as: components["schemas"]["Succession"];
                reason: string;
            };
            entity: string;
            ttlMs: number | null;
            freshness: {
                /** @enum {string} */
                tier: "realtime" | "hourly" | "daily";
                expectedEveryMs: number;
            };
            expectations?: components["schemas"]["Expectation"][];
            source: string;
            key: string[];
            sessions?: components["schemas"]["Sessions"];
            where: components["schemas"]["Expression"] | null;
            mode: {
                /** @constant */
                type: "streaming";
                rowsEveryMs: number;
            } | {
                /** @constant */
                type: "batch";
                cadenceMs: number;
                settleMs: number;
            };
            minAgeMs: number;
            minEvents: number;
            features: components["schemas"]["AggregationFeature"][];
        };
        SqlView: {
            /** @constant */
            kind: "sql";
            name: string;
            description: string;
            owner: string;
            /** @default [] */
            tags: string[];
            succeeds?: {
                version: number;
                as: components["schemas"]["Succession"];
                reason: string;
            };
            entity: string;
            ttlMs: number | null;
            freshness: {
                /** @enum {string} */
                tier: "realtime" | "hourly" | "daily";
                expectedEveryMs: number;
            };
            expectations?: components["schemas"]["Expectation"][];
            connection: string;
            query: string;
            reads: {
                table: string;
                /** @enum {string} */
                kind: "append" | "snapshot";
            }[];
            cadenceMs: number;
            settleMs: number;
            features: {
                name: string;
                description: string;
                type: components["schemas"]["ColumnType"];
                coldStart: components["schemas"]["FeatureLiteral"];
                nameException: string | null;
            }[];
        };
        OnDemandView: {
            /** @constant */
            kind: "onDemand";
            name: string;
            description: string;
            owner: string;
            /** @default [] */
            tags: string[];
            succeeds?: {
                version: number;
                as: components["schemas"]["Succession"];
                reason: string;
            };
            request: {
                [key: string]: components["schemas"]["ScalarType"];
            };
            inputs: string[];
            features: {
                name: string;
                description: string;
                type: components["schemas"]["FeatureType"];
                coldStart: components["schemas"]["FeatureLiteral"];
                nameException: string | null;
                expression: components["schemas"]["Expression"];
            }[];
        };
        View: components["schemas"]["AggregationView"] | components["schemas"]["SqlView"] | components["schemas"]["OnDemandView"];
        Service: {
            name: string;
            description: string;
            owner: string;
            /** @default [] */
            tags: string[];
            features: string[];
        };
        Owner: {
            name: string;
            contact: string;
            hasLeft?: boolean;
        };
        /** @enum {string} */
        RuleSeverity: "error" | "warning" | "off";
        Definitions: {
            project?: string;
            policy?: {
                [key: string]: components["schemas"]["RuleSeverity"];
            };
            owners?: components["schemas"]["Owner"][];
            entities: components["schemas"]["Entity"][];
            sources: components["schemas"]["Source"][];
            views: components["schemas"]["View"][];
            services: components["schemas"]["Service"][];
        };
        PolicyFile: {
            project?: string;
            rules?: {
                [key: string]: components["schemas"]["RuleSeverity"];
            };
        };
        GetDefinitionsAnswer: {
            revision: number;
            definitionsHash: string | null;
            definitions: components["schemas"]["Definitions"];
        };
        PlanDefinitionsBody: {
            definitions: components["schemas"]["Definitions"];
        };
        ApplyDefinitionsBody: {
            definitions: components["schemas"]["Definitions"];
            planHash?: string;
            by?: string;
            remove?: string[];
        };
        GetPlanAnswer: {
            /** @enum {string} */
            state: "saved" | "open" | "applied" | "abandoned";
            plan: components["schemas"]["Plan"];
        };
        ListRevisionsAnswer: {
            items: components["schemas"]["Revision"][];
            next: string | null;
        };
        ListFeaturesAnswer: {
            items: components["schemas"]["CatalogFeature"][];
            next: string | null;
        };
        GetViewFeaturesAnswer: {
            features: components["schemas"]["CatalogFeature"][];
        };
        ListAuditAnswer: {
            items: components["schemas"]["AuditItem"][];
            next: string | null;
        };
        RestoreRegistryBody: {
            file: string;
        };
        RestoreRegistryAnswer: {
            revision: number;
            versions: number;
            sources: number;
        };
        UploadFileAnswer: {
            sha256: string;
            bytes: number;
        };
        StartImportBody: {
            source: string;
            file?: string;
            name?: string;
            /** @enum {string} */
            format?: "csv" | "arrow";
            shiftMs?: number;
            until?: string;
            by?: string;
        };
        ListImportsAnswer: {
            items: components["schemas"]["ImportStatus"][];
            next: string | null;
        };
        ListVersionsAnswer: {
            items: components["schemas"]["Version"][];
            next: string | null;
        };
        StartBackfillBody: {
            view: string;
            version?: number;
            by?: string;
            start?: string;
            end?: string;
        };
        StartMaterializationBody: {
            view: string;
            version?: number;
            by?: string;
            tick?: string;
        };
        StartRefillBody: {
            view: string;
            version?: number;
            by?: string;
        };
        RetireVersionBody: {
            name: string;
            /** @default 7 */
            unreadDays: number;
            by?: string;
        };
        ListModelsAnswer: {
            items: components["schemas"]["Model"][];
            next: string | null;
        };
        RegisterModelBody: {
            name: string;
            owner: string;
            /** @default  */
            description: string;
            services?: string[];
            lock?: components["schemas"]["Lock"];
            trainedOn?: string[];
            by?: string;
        };
        PinModelBody: {
            lock?: components["schemas"]["Lock"];
            /** @enum {string} */
            canary?: "promote" | "abort";
            share?: number;
            trainedOn?: string[];
            by?: string;
        };
        RemoveModelBody: {
            name: string;
            by?: string;
        };
        GetViewStatisticsAnswer: {
            view: string;
            version: number;
            /** @enum {string} */
            what: "tick" | "backfill" | "training-set" | "served";
            reference: string;
            /** Format: date-time */
            at: string;
            features: {
                feature: string;
                type: components["schemas"]["FeatureType"];
                count: number;
                nulls: number;
                min: number | null;
                max: number | null;
                mean: number | null;
                deviation: number | null;
                p1: number | null;
                p5: number | null;
                p25: number | null;
                p50: number | null;
                p75: number | null;
                p95: number | null;
                p99: number | null;
                distinct: number | null;
                top: {
                    value: string | number | boolean;
                    count: number;
                }[] | null;
                topMissed: number | null;
            }[];
        };
        ListExpectationResultsAnswer: {
            items: components["schemas"]["ExpectationResult"][];
            next: string | null;
        };
        StartTrainingSetBody: {
            dataframe: string;
            /** @enum {string} */
            dataframeFormat: "csv" | "arrow";
            service?: string;
            features?: string[];
            /** @enum {string} */
            mode: "known-then" | "event-time";
            /** @default false */
            strict: boolean;
            /** @enum {string} */
            output: "arrow" | "parquet";
            by?: string;
        };
        ListTrainingSetsAnswer: {
            items: components["schemas"]["TrainingSetItem"][];
            next: string | null;
        };
        StartVerificationBody: {
            /** @default 500 */
            entities: number;
            /** @default 3 */
            moments: number;
            /** @default 1 */
            seed: number;
            trainingSets?: string[];
            views?: string[];
            by?: string;
        };
        ListVerificationsAnswer: {
            items: {
                id: string;
                finished: boolean;
                checked: number;
                different: number;
                /** Format: date-time */
                createdAt: string;
            }[];
            next: string | null;
        };
        PushRowsBody: {
            push_source_name: string;
            df: {
                [key: string]: ((string | number | boolean) | null | (string | number | boolean)[])[];
            };
            /** @enum {string} */
            to?: "online" | "offline" | "online_and_offline";
            allow_registry_cache?: boolean;
            transform_on_write?: boolean;
        };
        PushRowsAnswer: {
            rows: number;
        };
        UpdateRunBody: {
            id: string;
            /** @enum {string} */
            update: "pause" | "resume" | "drain";
            by?: string;
        };
        OrderStreamBody: {
            source: string;
            /** @enum {string} */
            order: "pause" | "resume" | "drain";
            by?: string;
        };
        OrderStreamAnswer: {
            source: string;
            /** @enum {string} */
            wanted: "run" | "pause" | "drain";
            run: string;
        };
        GetStatusAnswer: {
            revision: number;
            appliedBy: string | null;
            appliedAt: string | null;
            generation: string;
            openPlan: string | null;
            sources: components["schemas"]["SourceStatus"][];
            imports: components["schemas"]["ImportStatus"][];
            streams: components["schemas"]["StreamStatus"][];
            views: components["schemas"]["ViewStatus"][];
            failedExpectations: components["schemas"]["FailedExpectation"][];
            services: {
                service: string;
                owner: string;
                features: number;
            }[];
            environment: string;
            /** @constant */
            postgres: "ok";
            temporal: string;
            runs: components["schemas"]["RunningRun"][];
        };
        GetHealthAnswer: {
            /** @constant */
            process: "registry";
            environment: string;
            instance: string | null;
            ok: boolean;
            postgres: string;
            temporal: string;
        };
        GetOpenApiAnswer: {
            /** @constant */
            openapi: "3.1.1";
            info: {
                [key: string]: unknown;
            };
            paths: {
                [key: string]: {
                    [key: string]: unknown;
                };
            };
            components: {
                [key: string]: {
                    [key: string]: unknown;
                };
            };
        } & {
            [key: string]: unknown;
        };
    };
    responses: {
        /** @description what went wrong, by its code, and the fix */
        Problem: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: never;
    requestBodies: never;
    headers: {
        /** @description of the answer; give it as If-None-Match */
        ETag: string;
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    getDefinitions: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description what is applied */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GetDefinitionsAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    planDefinitions: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PlanDefinitionsBody"];
            };
        };
        responses: {
            /** @description what definitions would change */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Plan"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    applyDefinitions: {
        parameters: {
            query?: never;
            header?: {
                "If-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ApplyDefinitionsBody"];
            };
        };
        responses: {
            /** @description change it → run */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Started"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getPlan: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string;
            };
            path: {
                hash: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description a plan that was to be applied, and how far it came */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GetPlanAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listRevisions: {
        parameters: {
            query?: {
                limit?: number;
                after?: string;
            };
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description what was applied, when and by whom */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ListRevisionsAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listFeatures: {
        parameters: {
            query?: {
                limit?: number;
                after?: string;
                view?: string;
                owner?: string;
                tag?: string;
                entity?: string;
                source?: string;
                state?: "draft" | "backfilling" | "shadow" | "canary" | "live" | "deprecated" | "retired" | "abandoned";
            };
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description everything known about features */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ListFeaturesAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    getViewFeatures: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string;
            };
            path: {
                view: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description everything known about those of one version */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GetViewFeaturesAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    getFeature: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string;
            };
            path: {
                view: string;
                feature: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description everything known about one */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CatalogFeature"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    getLineage: {
        parameters: {
            query: {
                direction: "up" | "down";
            };
            header?: {
                "If-None-Match"?: string;
            };
            path: {
                kind: "table" | "topic" | "source" | "column" | "entity" | "request" | "view" | "feature" | "service" | "model" | "trainingSet";
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description what something is made of, or what is made of it */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lineage"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listAudit: {
        parameters: {
            query?: {
                limit?: number;
                after?: string;
                who?: string;
                action?: string;
                kind?: "plan" | "project" | "policy" | "owner" | "entity" | "source" | "view" | "service" | "model" | "stream" | "run";
                name?: string;
                planHash?: string;
            };
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description who changed what, newest first */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ListAuditAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    exportRegistry: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description the whole registry as files */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": Blob;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    restoreRegistry: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "file": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
                 *     }
                 */
                "application/json": components["schemas"]["RestoreRegistryBody"];
            };
        };
        responses: {
            /** @description such files into an empty registry */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RestoreRegistryAnswer"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    uploadFile: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/octet-stream": Blob;
            };
        };
        responses: {
            /** @description upload a file */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadFileAnswer"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listImports: {
        parameters: {
            query?: {
                limit?: number;
                after?: string;
            };
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description which there are, and how far they are */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ListImportsAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    startImport: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "source": "orders",
                 *       "file": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                 *       "name": "orders-2026"
                 *     }
                 */
                "application/json": components["schemas"]["StartImportBody"];
            };
        };
        responses: {
            /** @description a file or a table into the archive → run */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Started"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listVersions: {
        parameters: {
            query?: {
                limit?: number;
                after?: string;
                view?: string;
                state?: "draft" | "backfilling" | "shadow" | "canary" | "live" | "deprecated" | "retired" | "abandoned";
            };
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description every version of every view */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ListVersionsAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    getViewProgress: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string;
            };
            path: {
                view: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description how far a view is */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ViewProgress"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    startBackfill: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "view": "user_orders",
                 *       "start": "2026-11-01T00:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["StartBackfillBody"];
            };
        };
        responses: {
            /** @description history of a view version → run */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Started"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startMaterialization: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "view": "user_orders",
                 *       "tick": "2026-11-20T00:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["StartMaterializationBody"];
            };
        };
        responses: {
            /** @description one tick of a view → run */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Started"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    startRefill: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "view": "user_orders@2"
                 *     }
                 */
                "application/json": components["schemas"]["StartRefillBody"];
            };
        };
        responses: {
            /** @description its records in Redis → run */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Started"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    retireVersion: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                view: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "user_orders@1"
                 *     }
                 */
                "application/json": components["schemas"]["RetireVersionBody"];
            };
        };
        responses: {
            /** @description the end of a version that nobody reads; its name is typed again → run */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Started"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listModels: {
        parameters: {
            query?: {
                limit?: number;
                after?: string;
            };
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description models, their locks, and what they read last */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ListModelsAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    registerModel: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "churn",
                 *       "owner": "ml@shop.example",
                 *       "services": [
                 *         "checkout"
                 *       ]
                 *     }
                 */
                "application/json": components["schemas"]["RegisterModelBody"];
            };
        };
        responses: {
            /** @description register a model on live versions, or on those of a lock → run */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Started"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getModel: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string;
            };
            path: {
                model: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description a model: its locks, and its reads of each version */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ModelDetails"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    getModelLock: {
        parameters: {
            query?: {
                state?: "live" | "canary" | "next";
                service?: string | string[];
            };
            header?: {
                "If-None-Match"?: string;
            };
            path: {
                model: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description its lock, as almanac.lock holds it, or one on what is live now */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lock"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    pinModel: {
        parameters: {
            query?: never;
            header?: {
                "If-Match"?: string;
            };
            path: {
                model: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "lock": {
                 *         "lock": 1,
                 *         "model": "churn",
                 *         "services": {
                 *           "checkout": {
                 *             "user_orders": {
                 *               "version": 2,
                 *               "hash": "0000000000000000000000000000000000000000000000000000000000000000"
                 *             }
                 *           }
                 *         },
                 *         "features": {
                 *           "checkout": [
                 *             "user_orders:user_order_count_last_7d"
                 *           ]
                 *         }
                 *       },
                 *       "share": 10
                 *     }
                 */
                "application/json": components["schemas"]["PinModelBody"];
            };
        };
        responses: {
            /** @description move a model to a lock, or a share of its requests; promote or abort its canary → run */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Started"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    removeModel: {
        parameters: {
            query?: never;
            header?: {
                "If-Match"?: string;
            };
            path: {
                model: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "churn"
                 *     }
                 */
                "application/json": components["schemas"]["RemoveModelBody"];
            };
        };
        responses: {
            /** @description a model that reads nothing any more; its name is typed again → run */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Started"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getViewStatistics: {
        parameters: {
            query?: {
                what?: "tick" | "backfill" | "training-set" | "served";
                reference?: string;
            };
            header?: {
                "If-None-Match"?: string;
            };
            path: {
                view: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description of each feature of a view: counts, range, quantiles, the most frequent values */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GetViewStatisticsAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listExpectationResults: {
        parameters: {
            query?: {
                limit?: number;
                after?: string;
                passed?: "true" | "false";
            };
            header?: {
                "If-None-Match"?: string;
            };
            path: {
                view: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description what came of a view’s expectations; newest first */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ListExpectationResultsAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listTrainingSets: {
        parameters: {
            query?: {
                limit?: number;
                after?: string;
            };
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description which there are */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ListTrainingSetsAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    startTrainingSet: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "dataframe": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                 *       "dataframeFormat": "csv",
                 *       "service": "recommendation",
                 *       "mode": "known-then",
                 *       "output": "parquet"
                 *     }
                 */
                "application/json": components["schemas"]["StartTrainingSetBody"];
            };
        };
        responses: {
            /** @description features of past moments into a file → run */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Started"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getTrainingSet: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description its manifest */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TrainingSet"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    downloadTrainingSet: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description its file */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": Blob;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listVerifications: {
        parameters: {
            query?: {
                limit?: number;
                after?: string;
            };
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description which there are */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ListVerificationsAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    startVerification: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "entities": 500,
                 *       "moments": 3,
                 *       "seed": 1
                 *     }
                 */
                "application/json": components["schemas"]["StartVerificationBody"];
            };
        };
        responses: {
            /** @description compare everything with the oracle → run */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Started"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getVerification: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description what was compared, and where it differs */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Verification"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    pushRows: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "push_source_name": "clicks",
                 *       "df": {
                 *         "click_id": [
                 *           "c1"
                 *         ],
                 *         "user_id": [
                 *           "u1"
                 *         ],
                 *         "clicked_at": [
                 *           "2026-11-21T12:00:00Z"
                 *         ]
                 *       }
                 *     }
                 */
                "application/json": components["schemas"]["PushRowsBody"];
            };
        };
        responses: {
            /** @description rows into a source's topic, in Feast's shape */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PushRowsAnswer"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getRun: {
        parameters: {
            query: {
                id: string;
            };
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description how a run does */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Run"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    updateRun: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "id": "refill/user_orders@2",
                 *       "update": "pause"
                 *     }
                 */
                "application/json": components["schemas"]["UpdateRunBody"];
            };
        };
        responses: {
            /** @description pause or resume it, drain a stream */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Run"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    orderStream: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "source": "clicks",
                 *       "order": "pause",
                 *       "by": "ada"
                 *     }
                 */
                "application/json": components["schemas"]["OrderStreamBody"];
            };
        };
        responses: {
            /** @description pause, resume, drain the stream of a source */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderStreamAnswer"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getStatus: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description sources, imports, streams, versions and what runs, at a glance */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GetStatusAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    getHealth: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description whether the process can work: 200, or 503 with what is wrong */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GetHealthAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description whether the process can work: 200, or 503 with what is wrong */
            503: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GetHealthAnswer"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getMetrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Prometheus metrics */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain; version=0.0.4; charset=utf-8": Blob;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getOpenApi: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description this API in OpenAPI 3.1 */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GetOpenApiAnswer"];
                };
            };
            /** @description it is as it was: If-None-Match names it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
}
