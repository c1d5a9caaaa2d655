//! Delivery directives: what a player asks of a media playlist (§6.2.5).

use percent_encoding::percent_decode_str;

use super::playlist::number;

/// What a player asks of a media playlist (§6.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) segment: Option<u64>,
    pub(super) part: Option<usize>,
    pub(super) skip: bool,
}

impl Directives {
    /// The words are for the player's author.
    pub(super) fn parse(query: &str) -> Result<Self, &'static str> {
        let mut asked = Self::default();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match key {
                "_HLS_msn" => {
                    asked.segment = Some(number(&value).ok_or("_HLS_msn is not a number.")?);
                }
                "_HLS_part" => {
                    let part = number(&value).and_then(|part| usize::try_from(part).ok());
                    asked.part = Some(part.ok_or("_HLS_part is not a number.")?);
                }
                // `v2` asks for skipped date ranges too; we have none.
                "_HLS_skip" => asked.skip = matches!(&*value, "YES" | "v2"),
                _ => {}
            }
        }
        match asked {
            Self { segment: None, part: Some(_), .. } => Err("_HLS_part needs _HLS_msn."),
            _ => Ok(asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_in_any_order_and_unknown_ones_are_none() {
        let asked = |segment, part, skip| Ok(Directives { segment, part, skip });
        for (query, read) in [
            ("", asked(None, None, false)),
            ("_HLS_msn=7", asked(Some(7), None, false)),
            ("_HLS_part=0&token=x&_HLS_msn=7", asked(Some(7), Some(0), false)),
            ("_HLS_msn=%37&_HLS_part=1%30", asked(Some(7), Some(10), false)),
            ("_HLS_skip=YES", asked(None, None, true)),
            ("_HLS_skip=v2&_HLS_msn=18446744073709551615", asked(Some(u64::MAX), None, true)),
            ("_HLS_skip=NO&_HLS_push=1&_hls_msn=x&&", asked(None, None, false)),
        ] {
            assert_eq!(Directives::parse(query), read, "{query}");
        }
        for query in [
            "_HLS_msn",
            "_HLS_msn=",
            "_HLS_msn=+7",
            "_HLS_msn=07",
            "_HLS_msn=18446744073709551616",
            "_HLS_part=0",
            "_HLS_part=0&_HLS_skip=v2",
            "_HLS_msn=7&_HLS_part=",
            "_HLS_msn=7&_HLS_part=1.0",
        ] {
            assert!(Directives::parse(query).is_err(), "{query}");
        }
    }
}
