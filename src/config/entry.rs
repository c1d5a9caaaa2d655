//! How a stream stands in the configuration, for those who would change it.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use super::document::{Node, Value};
use super::fault::Origin;

/// One stream's entry, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What other than the file says something of it: a variable, an argument.
    pub(super) beyond_file: Option<Origin>,
    /// Another one, if anything of the entry changes. Means nothing in another
    /// process: it is made of secrets, too.
    pub digest: u64,
}

static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Entry {
    pub(super) fn of(node: &Node) -> Self {
        let mut hasher = KEY.build_hasher();
        hash(node, &mut hasher);
        Self { beyond_file: beyond_file(node).cloned(), digest: hasher.finish() }
    }

    /// `file`, `environment` or `arguments`: who has the last word on it.
    pub fn origin(&self) -> &'static str {
        match self.beyond_file {
            None | Some(Origin::File { .. }) => "file",
            Some(Origin::Variable(_)) => "environment",
            Some(Origin::Flag(_)) => "arguments",
        }
    }
}

fn beyond_file(node: &Node) -> Option<&Origin> {
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            entries.iter().find_map(|(_, below)| beyond_file(below))
        }
        _ => Some(&node.origin).filter(|origin| !matches!(origin, Origin::File { .. })),
    }
}

fn hash(node: &Node, hasher: &mut impl Hasher) {
    std::mem::discriminant(&node.value).hash(hasher);
    match &node.value {
        Value::Null => {}
        Value::Scalar(text) => text.hash(hasher),
        Value::List(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|item| hash(item, hasher));
        }
        Value::Map(entries) => {
            entries.len().hash(hasher);
            for (key, below) in entries {
                key.text.hash(hasher);
                hash(below, hasher);
            }
        }
    }
}
