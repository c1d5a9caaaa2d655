//! Parameter sets in force, by id.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::limit::{Limit, MAX_SETS};

/// A parameter set and what we read of it.
#[derive(Debug)]
pub(super) struct Set<T> {
    pub(super) info: T,
    /// The NAL unit, escaped, with its header.
    pub(super) unit: Bytes,
    /// Sent before the set it builds on was replaced.
    outdated: bool,
}

/// Sets of one kind.
#[derive(Debug)]
pub(super) struct Sets<T>(BTreeMap<u8, Set<T>>);

impl<T> Default for Sets<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Sets<T> {
    /// Keeps `unit` under its id; whether that changed anything.
    pub(super) fn put(&mut self, id: u8, info: T, unit: &[u8]) -> Result<bool, Limit> {
        if let Some(old) = self.0.get_mut(&id) {
            if old.unit == unit {
                return Ok(std::mem::take(&mut old.outdated));
            }
        } else if self.0.len() >= MAX_SETS {
            return Err(Limit::ParameterSets);
        }
        self.0.insert(id, Set { info, unit: Bytes::copy_from_slice(unit), outdated: false });
        Ok(true)
    }

    pub(super) fn get(&self, id: u8) -> Option<&Set<T>> {
        self.0.get(&id)
    }

    /// Marks those that build on a set that was replaced.
    pub(super) fn outdate(&mut self, builds_on_it: impl Fn(&T) -> bool) {
        for set in self.0.values_mut().filter(|set| builds_on_it(&set.info)) {
            set.outdated = true;
        }
    }

    /// Set `id` and all that can be used beside it. Outdated ones only where
    /// `id` is outdated itself: SDP with the sets of another resolution must
    /// not spoil the fresh ones, yet some cameras repeat the SPS alone.
    pub(super) fn beside(&self, id: u8, belongs: impl Fn(&T) -> bool) -> Vec<Bytes> {
        let with_outdated = self.get(id).is_some_and(|set| set.outdated);
        let all = self.0.values().filter(|set| belongs(&set.info));
        all.filter(|set| with_outdated || !set.outdated).map(|set| set.unit.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_set_changes_nothing_and_the_65th_is_refused() {
        let mut sets = Sets::default();
        assert_eq!(sets.put(0, (), &[1]), Ok(true));
        assert_eq!(sets.put(0, (), &[1]), Ok(false));
        assert_eq!(sets.put(0, (), &[2]), Ok(true));
        for id in 1..64 {
            assert_eq!(sets.put(id, (), &[1]), Ok(true));
        }
        assert_eq!(sets.put(64, (), &[1]), Err(Limit::ParameterSets));
    }

    #[test]
    fn outdated_sets_are_left_out_beside_a_fresh_one() {
        let mut sets = Sets::default();
        sets.put(0, (), &[1]).unwrap();
        sets.put(1, (), &[2]).unwrap();
        sets.outdate(|_| true);
        assert_eq!(sets.beside(0, |_| true).len(), 2);
        assert_eq!(sets.put(0, (), &[1]), Ok(true), "the same bytes, fresh again");
        assert_eq!(sets.beside(0, |_| true), [Bytes::from_static(&[1])]);
    }
}
