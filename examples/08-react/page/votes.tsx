import { useState } from 'react';
import { createRoot } from 'react-dom/client';
import { useSse } from '../../../src/react/index.js';

/** The events of the stream. */
interface Events {
  votes: Readonly<Record<string, number>>;
}

function Votes() {
  const [votes, setVotes] = useState<Events['votes']>({});
  const { state } = useSse<Events>('/votes', { votes: setVotes }, { share: true });
  return (
    <section aria-busy={state.kind !== 'open'}>
      {Object.entries(votes).map(([choice, count]) => (
        <button key={choice} onClick={() => void fetch(`/votes/${choice}`, { method: 'POST' })}>
          {choice} {count}
        </button>
      ))}
      <p role="status">{state.kind === 'open' ? 'live' : state.kind}</p>
    </section>
  );
}

const page = document.getElementById('page');
if (page !== null) createRoot(page).render(<Votes />);
