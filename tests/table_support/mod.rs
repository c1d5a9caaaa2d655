//! A document that ends with a table which the program tells.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Document {
    path: PathBuf,
    pub(crate) written: String,
}

impl Document {
    /// That of the repository with this path.
    pub(crate) fn open(path: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let written = fs::read_to_string(&path).unwrap();
        Self { path, written }
    }

    /// Its table has these rows, of four columns, and no other.
    /// `PORTHOLE_WRITE=1` writes them.
    pub(crate) fn assert_rows(&self, rows: &str) {
        let (head, _) = self.written.split_once("|---|").expect("a table");
        let whole = format!("{head}|---|---|---|---|\n{rows}");
        if std::env::var_os("PORTHOLE_WRITE").is_some() {
            fs::write(&self.path, whole).unwrap();
            return;
        }
        assert_eq!(self.written, whole, "PORTHOLE_WRITE=1 writes it anew");
    }
}
