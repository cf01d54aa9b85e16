// What only the browser can do: draw a picture where the server has no browser of its own for it.
window.dash_clientside = Object.assign({}, window.dash_clientside, {
  explorer: {
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
