"""The floor of the start: FastAPI with one route on uvicorn (uvloop, httptools) and an open SQLite file."""

from __future__ import annotations

import sys

import apsw
import uvicorn
from fastapi import FastAPI

app = FastAPI(docs_url=None, redoc_url=None)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Alive."""
    return {"status": "ok"}


if __name__ == "__main__":
    connection = apsw.Connection(sys.argv[2])
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE IF NOT EXISTS things (id TEXT PRIMARY KEY) STRICT")
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="warning")
