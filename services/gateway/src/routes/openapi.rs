//! What `/v1/openapi.json` says beside the handlers' own words.

use serde::{Deserialize, Serialize};
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::routes::settings::Wishes;

/// The API but for its paths, which come with their routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "mp3converter",
        description = "Give it a video, get an MP3.\n\nEvery call needs a token: `POST /login` with your address and \
                       password (HTTP Basic) answers with one, good for 24 hours. Errors are problem details (RFC 9457)."
    ),
    security(("token" = []), ("session" = [])),
    tags(
        (name = "conversions", description = "Videos in, MP3s out."),
        (name = "events", description = "Watching them."),
    ),
    modifiers(&Tokens)
)]
pub struct Api;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
        let token = token.description(Some("What `POST /login` answers."));
        let session = ApiKeyValue::with_description("session", "What `POST /session` sets, for pages.");
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    }
}

/// What went wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says it all.
    pub r#type: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    pub title: String,
    #[schema(example = 404)]
    pub status: u16,
    /// What it is about, in plain words.
    #[schema(example = "not found")]
    pub detail: String,
}

/// A video, and wishes for its MP3, which must stand before it. They may stand in the query as well.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "read from the stream, described here")]
pub struct Film {
    #[serde(flatten)]
    wishes: Wishes,
    /// The video, under this or any other name.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}
