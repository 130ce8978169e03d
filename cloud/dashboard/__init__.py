"""The pages: what the API answers, drawn for people. Server-rendered, live by the same event stream as everybody's."""
