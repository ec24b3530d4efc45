import type { Connection } from '@temporalio/client';

type Register = Parameters<Connection['workflowService']['registerNamespace']>[0];

const [KEYWORD, INT] = [2, 3];

/** A Temporal namespace: runs and schedules of other environments have the same ids. */
export async function createNamespace(connection: Connection, namespace: string): Promise<void> {
  const retention = { seconds: 24 * 3600 } as unknown as Register['workflowExecutionRetentionPeriod'];
  await connection.workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: retention!,
  });
  const searchAttributes = {
    AlmanacView: KEYWORD,
    AlmanacKind: KEYWORD,
    AlmanacState: KEYWORD,
    AlmanacOwner: KEYWORD,
    AlmanacVersion: INT,
  };
  await connection.operatorService.addSearchAttributes({ namespace, searchAttributes });
}
