/** A question to a program of this benchmark, answered with the same id. */
export interface NodeQuestion {
  readonly id: number;
  readonly ask: string;
  /** Which kind of work is meant, where there are several. */
  readonly what: string;
  readonly count: number;
}

/** Answers the process that started this one; ends with what went wrong when that is not possible. */
export function answerQuestions(answers: Readonly<Record<string, (question: NodeQuestion) => unknown>>): void {
  process.on('message', (question: NodeQuestion) => {
    void answer(question);
  });
  process.on('disconnect', () => process.exit());
  const answer = async (question: NodeQuestion): Promise<void> => {
    const handler = answers[question.ask];
    if (handler === undefined) throw new Error(`no handler for ${question.ask}`);
    process.send?.({ id: question.id, answer: await handler(question) });
  };
}

/** Processor time of this process, in microseconds. */
export function ownProcessorTime(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
