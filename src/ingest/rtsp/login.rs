//! Logging in at a camera (RFC 2326 §14, RFC 7616, RFC 7617), without I/O.
//!
//! Here: which of its challenges is answered, with which login, and when it
//! has had enough tries. Digests are computed by `http-auth`; reading the
//! challenge and choosing is ours, since that crate takes the first `Digest`
//! of several, and no unquoted values or quoted algorithms as cameras write.
//!
//! Promise: a camera is sent at most two different passwords in a session:
//! most lock an account after five that were wrong.

use http_auth::digest::Algorithm;
use http_auth::{ChallengeRef, ParamValue, PasswordClient, PasswordParams};

use crate::fault::{Code, Fault};
use crate::ingest::source::Login;

/// Most challenges, and parameters of one, that are looked at.
const MAX_OFFERS: usize = 16;
const MAX_PARAMETERS: usize = 32;
/// How often a login that was accepted before may be renewed for one request.
const MAX_RENEWALS: u32 = 2;

/// One challenge: its scheme and parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// As the camera writes it, such as `Digest`.
    pub scheme: String,
    /// Lower-case names; values without quotes, escapes left in.
    parameters: Vec<(String, String)>,
}

/// What a camera is told about who we are.
pub struct Door {
    /// The login in use.
    login: Option<Login>,
    /// What to try when that is refused.
    spare: Option<Login>,
    client: Option<PasswordClient>,
    /// Whether the camera has accepted the login in this session.
    proven: bool,
    /// Renewals since it last did.
    renewals: u32,
    /// Schemes it has offered, for people.
    offered: Vec<String>,
}

impl Door {
    /// With the login to use, and another to try if that one is refused.
    pub fn new(login: Option<Login>, spare: Option<Login>) -> Self {
        let offered = Vec::new();
        Self { login, spare, client: None, proven: false, renewals: 0, offered }
    }

    /// Schemes the camera has offered so far, such as `Digest SHA-256`.
    pub fn offered(&self) -> &[String] {
        &self.offered
    }

    /// The `Authorization` of a request; none before the camera has asked.
    pub fn authorize(&mut self, method: &str, uri: &str) -> Option<String> {
        let (login, client) = self.login.as_ref().zip(self.client.as_mut())?;
        let parameters = PasswordParams {
            username: &login.username,
            password: login.password.expose(),
            uri,
            method,
            body: Some(&[]),
        };
        let mut value = client.respond(&parameters).ok()?;
        // Without a qop the crate leaves the algorithm out, as RFC 2069 did;
        // that one knew only MD5.
        if let PasswordClient::Digest(digest) = client
            && digest.rfc2069_compat()
            && digest.algorithm() == Algorithm::Sha256
        {
            value.push_str(", algorithm=SHA-256");
        }
        Some(value)
    }

    /// The camera answered an authorized request otherwise than 401.
    /// `guarded`: a request that needs a login, so that this one is right.
    pub fn accepted(&mut self, guarded: bool) {
        self.proven |= guarded && self.client.is_some();
        if self.proven {
            self.renewals = 0;
        }
    }

    /// The camera answered 401 with these challenges. `authorized`: although
    /// the request had an `Authorization`. Ok: the request is to be sent again.
    ///
    /// # Errors
    ///
    /// `source.auth` when there is nothing more to try.
    pub fn refused(&mut self, challenges: &[String], authorized: bool) -> Result<(), Fault> {
        // A challenge that could not be answered counts as one that was.
        let authorized = authorized || self.client.is_some();
        let offers: Vec<Offer> = challenges.iter().flat_map(|line| offers(line)).collect();
        for name in offers.iter().map(Offer::name) {
            if !self.offered.contains(&name) && self.offered.len() < MAX_OFFERS {
                self.offered.push(name);
            }
        }
        if self.login.is_none() {
            return Err(refusal("it asks for a user name and password; none is given"));
        }
        let best = offers.iter().filter_map(|offer| Some((offer, offer.client()?)));
        let Some((best, client)) = best.max_by_key(|(offer, _)| offer.strength()) else {
            if authorized {
                return Err(refusal("401 without a new challenge"));
            }
            let detail = format!("it offers no login we know: {}", self.offered.join(", "));
            return Err(refusal(&detail));
        };
        if authorized {
            let renewable = self.renews(best);
            if renewable && self.renewals < if self.proven { MAX_RENEWALS } else { 1 } {
                self.renewals += 1;
            } else if let Some(spare) = self.spare.take().filter(|_| !self.proven) {
                self.login = Some(spare);
            } else {
                return Err(refusal(if self.proven { "it accepted them before" } else { "" }));
            }
        }
        self.client = Some(client);
        Ok(())
    }

    /// Whether a challenge asks for the same login with a newer nonce.
    fn renews(&self, offer: &Offer) -> bool {
        let Some(PasswordClient::Digest(used)) = &self.client else { return false };
        let stale = offer.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
        // Some never say `stale`; a nonce that differs says it as well, once
        // the password is known to be right.
        stale || self.proven && offer.get("nonce").is_some_and(|nonce| nonce != used.nonce())
    }
}

fn refusal(detail: &str) -> Fault {
    Fault::new(Code::SourceAuth, detail)
}

impl Offer {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// For people: `Digest SHA-256`. A camera chooses these words; they go to
    /// a terminal.
    fn name(&self) -> String {
        let algorithm = self.get("algorithm").filter(|algorithm| !algorithm.is_empty());
        let name = algorithm.map_or_else(
            || self.scheme.clone(),
            |algorithm| format!("{} {algorithm}", self.scheme),
        );
        name.chars().filter(|c| !c.is_control()).take(40).collect()
    }

    /// The algorithm as RFC 7616 §6.1 spells it, with `-sess` where it is.
    fn algorithm(&self) -> Option<&'static str> {
        let written = self.get("algorithm").unwrap_or_default().to_ascii_uppercase();
        Some(match written.as_str() {
            "" | "MD5" => "MD5",
            "MD5-SESS" => "MD5-sess",
            "SHA-256" | "SHA256" => "SHA-256",
            "SHA-256-SESS" | "SHA256-SESS" => "SHA-256-sess",
            "SHA-512-256" => "SHA-512-256",
            "SHA-512-256-SESS" => "SHA-512-256-sess",
            _ => return None,
        })
    }

    /// The more, the less a listener on the wire learns.
    fn strength(&self) -> u8 {
        match self.algorithm() {
            _ if !self.scheme.eq_ignore_ascii_case("digest") => 0,
            Some("MD5" | "MD5-sess") => 1,
            // No camera has it, and no server has been tried with it.
            Some("SHA-512-256" | "SHA-512-256-sess") => 2,
            _ => 3,
        }
    }

    /// Who answers it; `None` for schemes we do not know.
    fn client(&self) -> Option<PasswordClient> {
        let basic = self.scheme.eq_ignore_ascii_case("basic");
        if !basic && !self.scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let scheme = if basic { "Basic" } else { "Digest" };
        let mut challenge = ChallengeRef::new(scheme);
        let mut parameter = |name, value| {
            challenge.params.push((name, ParamValue::try_from_escaped(value).ok()?));
            Some(())
        };
        parameter("realm", self.get("realm").unwrap_or_default())?;
        if !basic {
            parameter("nonce", self.get("nonce")?)?;
            parameter("algorithm", self.algorithm()?)?;
            if let Some(opaque) = self.get("opaque") {
                parameter("opaque", opaque)?;
            }
            // Requests have no body to protect: `auth-int` only where nothing
            // else is offered. What is neither means the old way of RFC 2069.
            let qops = self.get("qop").unwrap_or_default();
            let offers = |qop: &str| qops.split([',', ' ']).any(|q| q.eq_ignore_ascii_case(qop));
            match () {
                () if offers("auth") => parameter("qop", "auth")?,
                () if offers("auth-int") => parameter("qop", "auth-int")?,
                () => {}
            }
        }
        PasswordClient::try_from(&challenge).ok()
    }
}

/// The challenges of one `WWW-Authenticate` header (RFC 7235 §4.1), also where
/// quotes or commas are missing.
pub fn offers(header: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = header;
    // A scheme stands at the start or behind a comma.
    let mut after_comma = true;
    loop {
        let trimmed = rest.trim_start_matches([' ', '\t', ',']);
        after_comma |= rest[..rest.len() - trimmed.len()].contains(',');
        let end = trimmed.find([' ', '\t', ',', '=']).unwrap_or(trimmed.len());
        let (word, after) = trimmed.split_at(end);
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        match (value, offers.last_mut()) {
            (Some(value), last) => {
                let (value, after) = parameter_value(value);
                if let Some(offer) = last.filter(|offer| offer.parameters.len() < MAX_PARAMETERS) {
                    let name = word.to_ascii_lowercase();
                    // Of a parameter given twice, the first counts.
                    if offer.get(&name).is_none() {
                        offer.parameters.push((name, value.to_owned()));
                    }
                }
                rest = after;
            }
            _ if trimmed.is_empty() => return offers,
            // A further word of an unquoted value, such as a realm or a qop.
            (None, Some(Offer { parameters, .. }))
                if !after_comma && !is_scheme(word) || word == "auth" || word == "auth-int" =>
            {
                if let Some((_, value)) = parameters.last_mut() {
                    value.extend([" ", word]);
                }
                rest = after;
            }
            (None, _) => {
                if offers.len() == MAX_OFFERS {
                    return offers;
                }
                offers.push(Offer { scheme: word.to_owned(), parameters: Vec::new() });
                rest = after;
            }
        }
        after_comma = false;
    }
}

fn is_scheme(word: &str) -> bool {
    ["basic", "digest"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// A value, quoted or not, and what follows it.
fn parameter_value(text: &str) -> (&str, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        return text.split_at(text.find([' ', '\t', ',']).unwrap_or(text.len()));
    };
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            '"' if !escaped => return (&quoted[..at], &quoted[at + 1..]),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    (quoted, "")
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
