"""The paper's evidence by one command: tables and figures of docs/paper.md."""
