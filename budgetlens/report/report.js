(() => {
  'use strict';
  const say = (button, text) => {
    const before = button.textContent;
    button.textContent = text;
    setTimeout(() => { button.textContent = before; }, 2500);
  };
  const save = (blob, name) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const unpacked = element => {
    const bytes = Uint8Array.from(atob(element.textContent.trim()), character => character.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip')));
  };
  // What is folded lies in the page packed, escaped as everything in it is; it is put in its place once.
  const held = async place => {
    const name = place.dataset.held;
    if (!name) return;
    place.removeAttribute('data-held');
    place.innerHTML = await unpacked(document.getElementById(name)).text();
  };
  const holding = part => Promise.all([...part.querySelectorAll('[data-held]')].map(held));
  document.addEventListener('toggle', event => {
    if (event.target.open) holding(event.target);
  }, true);
  // A drawing as a picture by itself: its own colours, with what it answers above and what was measured below.
  const whole = button => {
    const drawing = button.closest('figure').querySelector('svg.wide').cloneNode(true);
    const box = drawing.dataset.whole, [, , width, height] = box.split(' ').map(Number);
    for (const [name, value] of Object.entries({viewBox: box, width, height})) drawing.setAttribute(name, value);
    return {text: new XMLSerializer().serializeToString(drawing), width, height};
  };
  const picture = async ({text, width, height}) => {
    const image = new Image(), canvas = document.createElement('canvas');
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    await image.decode();
    Object.assign(canvas, {width: 2 * width, height: 2 * height});
    canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise(done => canvas.toBlob(done, 'image/png'));
  };
  const copy = async button => {
    const {copy: what, text} = button.dataset;
    const content = what === 'text' ? document.getElementById(text).textContent : whole(button);
    const blob = what === 'picture' ? await picture(content)
      : new Blob([what === 'text' ? content : content.text], {type: 'text/plain'});
    try {
      await navigator.clipboard.write([new ClipboardItem({[blob.type]: blob})]);
      say(button, 'Copied');
    } catch {
      // Some browsers let a page write nothing to the clipboard.
      save(blob, `answer.${what === 'picture' ? 'png' : what === 'svg' ? 'svg' : 'tex'}`);
      say(button, 'Saved');
    }
  };
  const saved = async button => {
    const {plot: id, format, name} = button.dataset;
    await budgetlensFigures.show(id);
    const plot = document.getElementById(id);
    // A picture is as the figure is seen, zoomed or not; from a dark or a narrow page it is the one for paper.
    const seen = plot.dataset.look === 'light', paper = budgetlensFigures.figure(id, 'light');
    const size = seen ? {width: plot.offsetWidth, height: plot.offsetHeight}
      : {width: paper.layout.meta.width, height: paper.layout.height};
    await Plotly.downloadImage(seen ? plot : paper, {...size, format, filename: name, scale: format === 'png' ? 2 : 1});
  };
  document.addEventListener('click', async event => {
    const button = event.target.closest('button');
    if (!button) return;
    try {
      if (button.dataset.csv) {
        const table = await unpacked(document.getElementById(button.dataset.csv)).blob();
        save(new Blob([table], {type: 'text/csv;charset=utf-8'}), button.dataset.name);
      } else if (button.dataset.plot) await saved(button);
      else if (button.dataset.copy) await copy(button);
    } catch (error) {
      say(button, 'Not possible in this browser');
    }
  });
  // A figure is drawn once, when it comes into sight.
  const sight = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(entry => {
    sight.unobserve(entry.target);
    budgetlensFigures.show(entry.target.id);
  }), {rootMargin: '0px 0px -120px 0px'});
  document.querySelectorAll('[data-figure]').forEach(place => sight.observe(place));
  // A link into what is folded opens it.
  const reveal = () => {
    const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    for (let fold = place.closest('details'); fold; fold = fold.parentElement.closest('details')) fold.open = true;
    place.scrollIntoView();
  };
  addEventListener('hashchange', reveal);
  document.addEventListener('click', event => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) reveal();
  });
  reveal();
  const search = document.getElementById('search'), entries = [...document.querySelectorAll('.entry')];
  // What an entry says: what lies in it packed is no text.
  const said = new Map(), saying = entry => {
    const copy = entry.cloneNode(true);
    copy.querySelectorAll('script').forEach(script => script.remove());
    return copy.textContent.toLowerCase();
  };
  search.addEventListener('input', async () => {
    await holding(document);
    if (!said.size) entries.forEach(entry => said.set(entry, saying(entry)));
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const entry of entries) {
      const held = words.every(word => said.get(entry).includes(word));
      entry.hidden = !held;
      count += held;
    }
    document.getElementById('found').textContent = words.length ? `${count} of ${entries.length}` : '';
  });
  // What is folded on screen is open on paper.
  let opened = [];
  addEventListener('beforeprint', () => {
    opened = [...document.querySelectorAll('details.print:not([open])')];
    opened.forEach(part => { part.open = true; });
  });
  addEventListener('afterprint', () => opened.forEach(part => { part.open = false; }));
})();
