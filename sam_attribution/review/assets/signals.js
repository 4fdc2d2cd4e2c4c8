// Where the parts of a score contradict each other.

// How many rows are called suspicious, of all that were judged.
const N_DOUBTED = DATA.n_suspicious || DATA.n_samples / 10;

// Names of the signals that rank an item among the suspicious rows, and in the better half.
function opinions(item) {
  const named = (fits) => PARTS.filter(({ ranks }) => ranks[item] && fits(ranks[item])).map(({ name }) => name);
  const half = Math.max(N_DOUBTED, DATA.n_samples / 2);
  return { against: named((rank) => rank <= N_DOUBTED), inFavour: named((rank) => rank > half) };
}

function signalsDisagree(item) {
  const { against, inFavour } = opinions(item);
  return against.length > 0 && inFavour.length > 0;
}

function disagreementText(item) {
  const { against, inFavour } = opinions(item);
  return `By ${against.join(", ")} the label looks wrong; by ${inFavour.join(", ")} it looks right.`;
}
