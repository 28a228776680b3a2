"""The front end: uvicorn's protocol, and a short way for the requests that come most."""
