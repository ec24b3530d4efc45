/** A source's stream: its topic and rows made, its partition read, what the operator wants written down. */
import { cancellationSignal, getClient, heartbeat, sleep } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import kafkajs, { Kafka, logLevel } from 'kafkajs';
import type { Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { PARTITIONS, streamOf, topicName } from '../../core/stream.js';
import { findRevision, getSource } from '../../registry/resolve.js';
import { startRun } from '../../registry/runs.js';
import type { Wanted } from '../../registry/status.js';
import { readObedience, setWanted } from '../../registry/streams.js';
import type { Deps } from '../deps.js';
import { beating } from '../heartbeat.js';
import { createKafkaSource, tooWide } from './event-source.js';
import { Shard, type ShardStatus } from './shard.js';

export interface VersionName {
  view: string;
  version: number;
}

export interface RunShardInput {
  source: string;
  shard: number;
  /** Default 5 min. */
  snapshotEveryMs?: number;
}

const SNAPSHOT_EVERY_MS = 5 * 60_000;
// Long enough to cost nothing, short enough for an activity to be seen in the history now and then.
const RUN_MS = 24 * 3_600_000;
const BEAT_MS = 1_000;
// A shard that shows nothing for so long hangs: Temporal should hear no more of it.
const HUNG_MS = 120_000;
// A reader that says nothing for so long is away.
const SILENT_MS = 10_000;
// For an apply, a stream that is slow is as good as one that is away.
const PATIENCE_MS = 60_000;
// Readers look twice a second at what is wanted.
const OBEY_MS = 3_000;

export function createStreamActivities(deps: Deps) {
  const { config, pool } = deps;
  return {
    /** Topics of the plan's sources, before anything of it is live. Throws FS_CONFLICT for one of which only a part would be read or kept. */
    async createTopics({ planHash }: { planHash: string }): Promise<void> {
      const { rows } = await pool.query<{ sources: Source[] }>(
        `select definitions -> 'sources' as sources from plan where hash = $1`,
        [planHash],
      );
      const topics = rows[0]!.sources.flatMap((source) => {
        const stream = streamOf(source);
        return stream === null ? [] : [topicName(config.environment, stream)];
      });
      if (topics.length > 0) await beating(() => createTopics(config.kafkaBrokers, [...new Set(topics)]));
    },

    /** Offsets and runs of every source that has a topic; those that have none any more end. */
    async startStreams(): Promise<void> {
      const sources = (await findRevision(pool))?.definitions.sources ?? [];
      const streamed = sources.flatMap((source) => {
        const stream = streamOf(source);
        return stream === null
          ? []
          : [{ source: source.name, owner: source.owner, topic: topicName(config.environment, stream) }];
      });
      await pool.query(
        `update stream_control set wanted = 'drain', changed_at = clock_timestamp() where not source = any ($1)`,
        [streamed.map(({ source }) => source)],
      );
      for (const { source, owner, topic } of streamed) {
        await pool.query(
          `insert into stream_offset (source, partition, topic) values ($1, 0, $2)
           on conflict (source, partition) do update set topic = excluded.topic, epoch = stream_offset.epoch + 1
            where stream_offset.next_offset = 0 and stream_offset.topic <> excluded.topic`, // who reads the old one is fenced
          [source, topic],
        );
        await pool.query(
          `insert into stream_control (source, wanted) values ($1, 'run')
           on conflict (source) do update set wanted = 'run' where stream_control.wanted = 'drain'`,
          [source],
        );
        await startStream(getClient(), config.environment, { source, owner });
      }
    },

    /**
     * Returns when the streams that run have taken these versions over and published what came after their backfills, or when its
     * patience is over: no stream stops an apply. Not waited for are those that read other columns of their source than the present
     * revision has: they are taken over when their plan is active.
     * @param versions left out: all that are live and were filled
     */
    async awaitStreams({ versions }: { versions?: VersionName[] }): Promise<void> {
      await beating(async () => {
        const began = performance.now();
        while ((await areWaiting(pool, versions)) && performance.now() - began < PATIENCE_MS)
          await sleep(250);
      });
    },

    /** Writes down what is wanted for the readers unless that is done, waits a little for them, and says how they are getting on with it. */
    async controlStream({
      source: name,
      wanted,
      isWritten,
    }: {
      source: string;
      wanted: Wanted;
      isWritten: boolean;
    }): Promise<string> {
      const source = await getSource(pool, name);
      if (!isWritten) await setWanted(pool, name, wanted, 'unknown'); // an operator, by way of Temporal
      const began = performance.now();
      for (;;) {
        const { isDone, said } = await readObedience(pool, source, wanted);
        if (isDone || performance.now() - began > OBEY_MS) return said;
        await sleep(100);
      }
    },

    /** What is written down. */
    async readWanted({ source }: { source: string }): Promise<Wanted> {
      const { rows } = await pool.query<{ wanted: Wanted }>(
        'select wanted from stream_control where source = $1',
        [source],
      );
      return rows[0]?.wanted ?? 'run';
    },

    /** The consumer loop. Its heartbeat says how far it is. */
    async runShard(input: RunShardInput): Promise<'drained' | 'over'> {
      let status: ShardStatus | null = null;
      let shown = performance.now();
      const timer = setInterval(() => {
        if (performance.now() - shown < HUNG_MS) heartbeat(status);
      }, BEAT_MS);
      try {
        await openPartition(deps, input.source);
        return await Shard.run(
          deps,
          {
            source: input.source,
            partition: input.shard,
            snapshotEveryMs: input.snapshotEveryMs ?? SNAPSHOT_EVERY_MS,
            runMs: RUN_MS,
          },
          {
            open: ({ topic, epoch }) =>
              createKafkaSource({
                brokers: brokersOf(config.kafkaBrokers),
                topic,
                partition: input.shard,
                group: `${topic}.${input.source}.${input.shard}.${epoch}`,
              }),
            signal: cancellationSignal(),
            report: (now) => {
              status = now;
              shown = performance.now();
            },
          },
        );
      } finally {
        clearInterval(timer);
      }
    },
  };
}

/** Streams run that have not taken some of them over yet; once they are, `published` is at least where that was. */
async function areWaiting(
  pool: Deps['pool'],
  versions: readonly VersionName[] | undefined,
): Promise<boolean> {
  const sources = (await findRevision(pool))?.definitions.sources ?? [];
  const { rowCount } = await pool.query(
    `select 1
       from view_version v
       join stream_control c on c.source = v.source ->> 'name' and c.wanted = 'run'
       join stream_offset o on o.source = c.source and o.state = 'running'
                           and o.seen_at > clock_timestamp() - make_interval(secs => $2)
       join jsonb_array_elements($3::jsonb) as s (source)
         on s.source ->> 'name' = c.source and s.source -> 'columns' = v.source -> 'columns'
       left join stream_attached a on a.version_id = v.id and a.partition = o.partition
      where v.definition #>> '{mode,type}' = 'streaming' and coalesce(a.published < a.sequence, true)
        and case when $1::text[] is null
                 then v.state = 'live' and exists (select 1 from view_progress p where p.version_id = v.id)
                 else v.view || '@' || v.version = any ($1) end
      limit 1`,
    [
      versions?.map(({ view, version }) => `${view}@${version}`) ?? null,
      SILENT_MS / 1000,
      JSON.stringify(sources),
    ],
  );
  return rowCount !== 0;
}

/** A run that goes on is left alone. Throws FS_CONFLICT when that is of another environment. */
export function startStream(
  client: Client,
  environment: string,
  { source, owner }: { source: string; owner: string },
): Promise<void> {
  return startRun(client, environment, {
    workflow: 'streamSource',
    id: `stream/${source}`,
    input: { source },
    summary: `stream of ${source}`,
    owner,
  });
}

/** Topic and offset of a source that has none yet: an apply makes them, but not for a registry that was restored. */
async function openPartition({ config, pool }: Deps, name: string): Promise<void> {
  const { rowCount } = await pool.query('select from stream_offset where source = $1', [name]);
  const stream = rowCount === 0 ? streamOf(await getSource(pool, name)) : null;
  if (stream === null) return;
  const topic = topicName(config.environment, stream);
  await createTopics(config.kafkaBrokers, [topic]);
  await pool.query(
    'insert into stream_offset (source, partition, topic) values ($1, 0, $2) on conflict do nothing',
    [name, topic],
  );
}

function brokersOf(brokers: string[]): string[] {
  if (brokers.length > 0) return brokers;
  throw new FeatureStoreError(
    'FS_CONFIG_MISSING',
    'the environment variable ALMANAC_KAFKA_BROKERS is not set',
    {
      fix: 'set it to host:port of a Kafka broker: a source has a topic',
      variable: 'ALMANAC_KAFKA_BROKERS',
    },
  );
}

async function createTopics(brokers: string[], topics: readonly string[]): Promise<void> {
  const kafka = new Kafka({
    clientId: 'almanac',
    brokers: brokersOf(brokers),
    logLevel: logLevel.NOTHING,
    connectionTimeout: 5_000,
    requestTimeout: 15_000,
    retry: { retries: 2 },
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    await admin.createTopics({
      waitForLeaders: true,
      timeout: 10_000,
      topics: topics.map((topic) => ({
        topic,
        numPartitions: PARTITIONS,
        // Producers may pack as they like: the broker unpacks, since readers know gzip alone.
        configEntries: [{ name: 'compression.type', value: 'uncompressed' }],
      })),
    });
    for (const topic of topics) {
      const { length } = await admin.fetchTopicOffsets(topic);
      if (length !== PARTITIONS) throw tooWide(topic, length);
    }
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: topics.map((name) => ({
        type: kafkajs.ConfigResourceTypes.TOPIC, // Node finds no export of that name in its CommonJS
        name,
        configNames: ['cleanup.policy'],
      })),
    });
    for (const { resourceName, configEntries } of resources)
      if (configEntries.some(({ configValue }) => configValue.includes('compact')))
        throw compacted(resourceName);
  } catch (error) {
    if (error instanceof FeatureStoreError) throw error;
    throw new FeatureStoreError(
      'FS_UNAVAILABLE',
      `Kafka does not make the topics: ${error instanceof Error ? error.message : String(error)}`,
      { fix: 'start it, or set ALMANAC_KAFKA_BROKERS; then try again' },
      { cause: error },
    );
  } finally {
    await admin.disconnect();
  }
}

function compacted(topic: string): FeatureStoreError {
  return new FeatureStoreError(
    'FS_CONFLICT',
    `topic ${topic} is compacted: of the messages with one key only the newest stays, and those without a key are refused`,
    {
      fix: 'set its cleanup.policy to delete, or name a topic that is not there yet: the platform makes it',
      topic,
    },
  );
}
