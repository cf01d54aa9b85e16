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
  // Tables lie in the page as base64 of gzip, so that a run's every digit fits into one file.
  const table = async id => {
    const packed = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), c => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    return new Response(stream).blob();
  };
  document.addEventListener('click', async event => {
    const button = event.target.closest('button[data-csv], button[data-plot]');
    if (!button) return;
    try {
      if (button.dataset.csv) {
        const text = await table(button.dataset.csv);
        save(new Blob([text], {type: 'text/csv;charset=utf-8'}), button.dataset.name);
      } else {
        const plot = document.querySelector(`#${button.dataset.plot} .js-plotly-plot`);
        // A picture is as the figure is seen, zoomed or not; from a dark or a narrow page it is the one for paper.
        const seen = plot.dataset.look === 'light', paper = budgetlensFigures.figure(plot.id, 'light');
        const size = seen ? {width: plot.offsetWidth, height: plot.offsetHeight}
          : {width: paper.layout.meta.width, height: paper.layout.height};
        await Plotly.downloadImage(seen ? plot : paper, {...size, format: button.dataset.format,
          filename: button.dataset.name, scale: button.dataset.format === 'png' ? 2 : 1});
      }
    } catch (error) {
      say(button, 'Not possible in this browser');
    }
  });
  // What is folded on screen is open on paper.
  let opened = [];
  addEventListener('beforeprint', () => {
    opened = [...document.querySelectorAll('details.print:not([open])')];
    opened.forEach(part => { part.open = true; });
  });
  addEventListener('afterprint', () => opened.forEach(part => { part.open = false; }));
})();
