"""One file a resource; each handler reads, asks the gateway, and answers in the API's own shapes."""
