// Draws the figures of a page for the reader's screen: light or dark, wide or narrow; on paper light and wide.
// A figure is stored once; plotly.js is on the page, or lies in it packed and is unpacked for the first figure.
window.budgetlensFigures = (() => {
  'use strict';
  const DARKENED = 'the colours';
  const dark = matchMedia('screen and (prefers-color-scheme: dark)');
  const narrow = matchMedia('screen and (max-width: 700px)');
  const texts = new Map(), shown = new Map();
  // What lies in the page as base64 of gzip, or as it is.
  const unpacked = async element => {
    const text = element.textContent.trim();
    if (element.dataset.packed === undefined) return text;
    const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return new Response(stream).text();
  };
  let loading;
  const plotly = () => loading ??= (async () => {
    if (window.Plotly) return;
    const script = document.createElement('script');
    script.textContent = await unpacked(document.getElementById('plotly'));
    document.head.append(script);
  })();
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
  // The same as `recoloured` there.
  const recoloured = value => {
    if (Array.isArray(value)) return value.map(recoloured);
    if (value && typeof value === 'object')
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, recoloured(part)]));
    if (typeof value !== 'string') return value;
    const [, channels, rest] = /^(rgba\(\d+,\d+,\d+)(,0\..*)$/s.exec(value) ?? [];
    if (channels in DARKENED) return DARKENED[channels] + rest;
    return value in DARKENED ? DARKENED[value] : value;
  };
  const drawn = (held, look) => {
    const wide = look.includes('narrow') ? changed(held.figure, held.narrow) : held.figure;
    return {...(look.includes('dark') ? recoloured(wide) : wide), config: held.config};
  };
  // plotly.js writes into what it is given, so every drawing reads a figure of its own.
  const figure = (id, look) => drawn(JSON.parse(texts.get(id)), look);
  const draw = (id, asked) => {
    const held = JSON.parse(texts.get(id));
    const look = asked ?? (dark.matches && held.themed ? 'dark' : 'light') + (narrow.matches && held.narrow ? ' narrow' : '');
    if (shown.get(id) === look) return;
    shown.set(id, look);
    const place = document.getElementById(id), {data, layout, config} = drawn(held, look);
    place.dataset.look = look;
    place.style.height = `${layout.height}px`;
    // Not Plotly.react, which leaves parts of a colour bar behind that stood elsewhere.
    Plotly.newPlot(place, data, layout, config);
  };
  const show = async id => {
    if (texts.has(id)) return;
    texts.set(id, '');
    const [text] = await Promise.all([unpacked(document.getElementById(`${id}-stored`)), plotly()]);
    texts.set(id, text);
    draw(id);
  };
  const every = look => shown.forEach((_, id) => draw(id, look));
  dark.addEventListener('change', () => every());
  narrow.addEventListener('change', () => every());
  addEventListener('beforeprint', () => every('light'));
  addEventListener('afterprint', () => every());
  return {show, figure, unpacked, look: id => shown.get(id)};
})();
