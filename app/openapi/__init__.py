"""The OpenAPI document: the descriptions at the views, and the one document made of them."""
