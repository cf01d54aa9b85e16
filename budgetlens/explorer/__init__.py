"""The explorer: `budgetlens explore`, a local page over the records of runs and, where it is at hand, the model.

`data` and `live` hold what is looked at, `state` what is chosen (and the address that says so), the modules
called `*_view` what is shown, and `layout`, `callbacks` and `app` the page. Only the last three need Dash.
"""
