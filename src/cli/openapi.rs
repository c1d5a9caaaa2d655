//! `porthole openapi`: the API's description.

use clap::Args;

use super::DONE;
use crate::api::openapi;

/// Print the OpenAPI 3.1 document of the admin listener's API, as
/// `/openapi.json` there answers it.
#[derive(Args)]
pub(super) struct OpenApi {}

impl OpenApi {
    pub(super) fn run(self) -> u8 {
        let Self {} = self;
        print!("{}", openapi());
        DONE
    }
}
