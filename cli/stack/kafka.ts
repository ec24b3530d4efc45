/**
 * Kafka for one stack: one node, broker and controller in one (KRaft), on loopback.
 * Paths in its settings are relative to its working directory: Kafka splits log.dirs at commas.
 */
import { existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import type { Command } from './process.js';
import type { Found } from './servers.mjs';
import type { StackState, UnitState } from './state.js';
import { run } from './steps.mjs';
import { ATTEMPT_MS, baseEnvironment, type Environment, StrangerError, type Unit } from './unit.js';

export const kafka: Unit = {
  name: 'kafka',
  ports: ['main', 'controller'],
  stop: 'SIGTERM',
  stopMs: 30_000,
  startMs: 120_000,
  prepare,
  check,
  address: (_state, unit) => `127.0.0.1:${unit.ports.main}`,
};

const JVM = [
  '-XX:+UseSerialGC',
  '-Xmx512m',
  '-Dlog4j2.configurationFile=log4j2.properties',
  '-Djava.awt.headless=true',
];

const LOGGING = `status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601}{UTC} %p %m (%c{1})%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
`;

function properties(unit: UnitState): string {
  const { main, controller } = unit.ports;
  return Object.entries({
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${main},CONTROLLER://127.0.0.1:${controller}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${main}`,
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': 'data',
    // one node: a factor of three would never be reached
    'offsets.topic.replication.factor': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.num.partitions': 4,
    'auto.create.topics.enable': false, // a misspelt topic is an error, not a topic
    'group.initial.rebalance.delay.ms': 0,
    // after kill -9 the broker may register again only when its last session has ended (9 s by default)
    'broker.session.timeout.ms': 5_000,
    'broker.heartbeat.interval.ms': 1_000,
    'log.cleaner.dedupe.buffer.size': 16 * 1024 * 1024, // of 512 MB; the default takes a quarter
  })
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}

async function prepare(
  state: StackState,
  unit: UnitState,
  found: Found | undefined,
  env: Environment,
): Promise<Command> {
  mkdirSync(join(unit.dir, 'data'), { recursive: true });
  unit.dir = realpathSync(unit.dir);
  writeFileSync(join(unit.dir, 'server.properties'), properties(unit));
  writeFileSync(join(unit.dir, 'log4j2.properties'), LOGGING);
  const { java = '', jars = '' } = found?.bin ?? {};
  const base = { file: java, env: baseEnvironment(env), cwd: unit.dir };
  const classpath = ['-cp', join(jars, '*')];
  if (!existsSync(join(unit.dir, 'data', 'meta.properties'))) {
    const format = [
      'format',
      '--cluster-id',
      state.kafkaClusterId,
      '--config',
      'server.properties',
      '--ignore-formatted',
    ];
    await run(java, [...JVM, ...classpath, 'kafka.tools.StorageTool', ...format], base);
  }
  return { ...base, args: [...JVM, ...classpath, 'kafka.Kafka', 'server.properties'] };
}

async function check(state: StackState, unit: UnitState): Promise<void> {
  const client = new Kafka({
    clientId: 'almanac-stack',
    brokers: unit.address.split(','),
    logLevel: logLevel.NOTHING,
    connectionTimeout: ATTEMPT_MS,
    requestTimeout: ATTEMPT_MS,
    retry: { retries: 0 },
  });
  const admin = client.admin();
  try {
    await admin.connect();
    const { clusterId } = await admin.describeCluster();
    if (!unit.external && clusterId !== state.kafkaClusterId)
      throw new StrangerError(
        `the Kafka on port ${unit.ports.main} is cluster ${clusterId}, not ${state.kafkaClusterId}`,
      );
  } finally {
    await admin.disconnect().catch(() => {});
  }
}
