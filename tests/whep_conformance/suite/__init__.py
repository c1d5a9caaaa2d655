"""Does this URL speak WHEP? One file per part of the protocol; see ../README.md."""
