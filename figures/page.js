// Draws the figures of a page for the reader's screen: light or dark, wide or narrow; on paper light and wide.
window.budgetlensFigures = (() => {
  'use strict';
  const dark = matchMedia('screen and (prefers-color-scheme: dark)');
  const narrow = matchMedia('screen and (max-width: 700px)');
  const shown = new Map();
  // The same as `changed` in figures/looks.py.
  const changed = (before, change) => {
    if (!change) return before;
    if ('=' in change) return change['='];
    if (Array.isArray(before)) return before.map((value, place) => changed(value, change['*'][place]));
    const after = {};
    for (const name of Object.keys(before)) {
      const part = change['*'][name];
      if (!part || !('-' in part)) after[name] = changed(before[name], part);
    }
    for (const name of Object.keys(change['*'])) if (!(name in before)) after[name] = change['*'][name]['='];
    return after;
  };
  // plotly.js writes into what it is given, so every drawing reads a figure of its own.
  const stored = id => JSON.parse(document.getElementById(`${id}-looks`).textContent);
  const drawn = (held, look) => ({...changed(held.figure, held.looks[look]), config: held.config});
  const figure = (id, look) => drawn(stored(id), look);
  const wanted = held => {
    const look = (dark.matches ? 'dark' : 'light') + (narrow.matches ? ' narrow' : '');
    return look in held.looks ? look : 'light';
  };
  const show = (id, asked) => {
    const held = stored(id), look = asked ?? wanted(held);
    if (shown.get(id) === look) return;
    shown.set(id, look);
    const place = document.getElementById(id), {data, layout, config} = drawn(held, look);
    place.dataset.look = look;
    place.style.height = `${layout.height}px`;
    // Not Plotly.react, which leaves parts of a colour bar behind that stood elsewhere.
    Plotly.newPlot(place, data, layout, config);
  };
  const every = look => shown.forEach((_, id) => show(id, look));
  dark.addEventListener('change', () => every());
  narrow.addEventListener('change', () => every());
  addEventListener('beforeprint', () => every('light'));
  addEventListener('afterprint', () => every());
  return {show, figure, look: id => shown.get(id)};
})();
