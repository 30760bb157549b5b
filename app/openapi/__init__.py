"""The OpenAPI document: what views say of themselves, and the one document made of it."""
