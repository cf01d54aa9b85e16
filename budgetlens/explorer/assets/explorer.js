// What only the browser can do.
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 700px)");
// Names of looks are those of figures/looks.py.
const look = () => (dark.matches ? "dark" : "light") + (narrow.matches ? " narrow" : "");
for (const query of [dark, narrow]) {
  query.addEventListener("change", function () {
    window.dash_clientside.set_props("look", { data: look() });
  });
}

window.dash_clientside = Object.assign({}, window.dash_clientside, {
  explorer: {
    look: look,
    // Draw a picture where the server has no browser of its own for it.
    savePicture: function (order) {
      const figure = order && document.querySelector("#" + order.slot + " .js-plotly-plot");
      if (figure && window.Plotly) {
        window.Plotly.downloadImage(figure, {
          format: order.kind, filename: order.name, width: order.width, height: order.height, scale: 2,
        });
      }
      return "";
    },
  },
});

// Buttons in tables come and go; one listener for all of them says which was pressed.
document.addEventListener("click", function (event) {
  const button = event.target.closest && event.target.closest("button[data-choose]");
  if (button) {
    const chosen = { what: button.dataset.choose, place: Number(button.dataset.place), time: Date.now() };
    window.dash_clientside.set_props("chosen", { data: chosen });
  }
});
