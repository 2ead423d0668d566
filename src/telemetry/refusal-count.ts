import type { Attributes } from '@opentelemetry/api';
import type { RefusalReason } from '../contracts/resilience-observer.js';
import type { OperationKind } from '../contracts/resilience-policy.js';
import { ATTRIBUTE } from './names.js';

/** A growing count for each kind of call and each reason why a policy did not let one finish. */
export class RefusalCount {
  readonly #counts = new Map<OperationKind, Map<RefusalReason, number>>();

  add(kind: OperationKind, reason: RefusalReason): void {
    const reasons = this.#counts.get(kind) ?? new Map<RefusalReason, number>();
    this.#counts.set(kind, reasons);
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }

  /** Hands out each count with its labels. */
  read(observe: (count: number, labels: Attributes) => void): void {
    for (const [kind, reasons] of this.#counts) {
      for (const [reason, count] of reasons) {
        observe(count, { [ATTRIBUTE.operation]: kind, [ATTRIBUTE.refusalReason]: reason });
      }
    }
  }
}
