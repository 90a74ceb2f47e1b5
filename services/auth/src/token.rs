//! The signed tokens (JWT, HS256) that stand for a log-in.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use common::{Env, Secret};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// How long a token is valid.
const LIFETIME: Duration = Duration::from_hours(24);
/// What the clocks of two machines may differ by.
const LEEWAY: Duration = Duration::from_secs(5);
/// RFC 7518, section 3.2: a key for HS256 has at least as many bits as its hash.
const SHORTEST_SECRET: usize = 32;

/// For messages about a missing or short secret.
const HOW_TO_MAKE_A_SECRET: &str = "make one with: openssl rand -hex 32";

/// What a token says. The names and their order are those of the classic service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The account's e-mail address.
    pub username: String,
    /// Valid until then, in seconds since 1970.
    pub exp: u64,
    /// Made then, in seconds since 1970.
    pub iat: u64,
    /// Whether the account may use the converter; no more than that.
    pub admin: bool,
}

/// Makes and checks tokens.
pub struct Tokens {
    header: Header,
    signing: EncodingKey,
    /// The secret that signs, then the one before it.
    accepted: Vec<DecodingKey>,
    validation: Validation,
}

impl Tokens {
    pub fn new(secret: &Secret, previous: Option<&Secret>) -> Self {
        // Only the algorithm named here is accepted, whatever a token's own header says.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY.as_secs();
        Self {
            header: Header::new(Algorithm::HS256),
            signing: EncodingKey::from_secret(secret.expose().as_bytes()),
            accepted: [Some(secret), previous]
                .into_iter()
                .flatten()
                .map(|secret| DecodingKey::from_secret(secret.expose().as_bytes()))
                .collect(),
            validation,
        }
    }

    /// A token for this account, valid from now on.
    pub fn issue(&self, username: &str, admin: bool) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is set before 1970")?;
        let claims =
            Claims { username: username.to_owned(), exp: (now + LIFETIME).as_secs(), iat: now.as_secs(), admin };
        jsonwebtoken::encode(&self.header, &claims, &self.signing).context("cannot sign a token")
    }

    /// What a token says, if one of our secrets signed it and it has not expired.
    pub fn verify(&self, token: &str) -> Option<Claims> {
        let read = |key| jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok();
        self.accepted.iter().find_map(read).map(|data| data.claims)
    }
}

/// `JWT_SECRET` and, if set, `JWT_SECRET_PREVIOUS`.
pub fn secrets_from_env(env: &mut Env) -> (Secret, Option<Secret>) {
    if env.optional("JWT_SECRET").is_none() && env.optional("JWT_SECRET_FILE").is_none() {
        env.fault(format!("JWT_SECRET must be set; {HOW_TO_MAKE_A_SECRET}"));
    }
    let secret = secret_from_env(env, "JWT_SECRET").unwrap_or_else(|| Secret::new(""));
    (secret, secret_from_env(env, "JWT_SECRET_PREVIOUS"))
}

fn secret_from_env(env: &mut Env, name: &str) -> Option<Secret> {
    let secret = env.secret(name)?;
    if secret.expose().len() < SHORTEST_SECRET {
        // Who holds one token can guess a short secret, and then make any token.
        env.fault(format!("{name} is shorter than {SHORTEST_SECRET} bytes; {HOW_TO_MAKE_A_SECRET}"));
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};

    use super::{Claims, Secret, SystemTime, Tokens};

    const OLD: &str = "an old secret that is long enough to be one";
    const NEW: &str = "a new secret that is long enough to be one";

    fn tokens(secret: &str, previous: Option<&str>) -> Tokens {
        Tokens::new(&Secret::new(secret), previous.map(Secret::new).as_ref())
    }

    fn now() -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
    }

    fn signed(algorithm: Algorithm, exp: u64) -> String {
        let claims = Claims { username: "a@b.c".into(), exp, iat: now(), admin: true };
        let key = EncodingKey::from_secret(NEW.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).expect("a token")
    }

    #[test]
    fn a_token_says_who_and_is_valid_for_a_day() {
        let tokens = tokens(NEW, None);
        let claims = tokens.verify(&tokens.issue("a@b.c", false).expect("a token")).expect("its own");
        assert_eq!((claims.username.as_str(), claims.admin), ("a@b.c", false));
        assert_eq!(claims.exp - claims.iat, 24 * 3_600);
        assert!(now().abs_diff(claims.iat) <= 2, "made now");
    }

    #[test]
    fn the_previous_secret_is_accepted_but_does_not_sign() {
        let before = tokens(OLD, None).issue("a@b.c", true).expect("a token");
        let rotated = tokens(NEW, Some(OLD));
        assert!(rotated.verify(&before).is_some());
        assert!(tokens(NEW, None).verify(&before).is_none(), "rotated out");
        assert!(tokens(NEW, None).verify(&rotated.issue("a@b.c", true).expect("a token")).is_some());
    }

    #[test]
    fn expiry_allows_for_clocks_but_no_more() {
        let tokens = tokens(NEW, None);
        assert!(tokens.verify(&signed(Algorithm::HS256, now() - 2)).is_some());
        assert!(tokens.verify(&signed(Algorithm::HS256, now() - 10)).is_none());
    }

    #[test]
    fn other_algorithms_are_refused_even_with_the_right_key() {
        let tokens = tokens(NEW, None);
        assert!(tokens.verify(&signed(Algorithm::HS256, now() + 60)).is_some());
        assert!(tokens.verify(&signed(Algorithm::HS384, now() + 60)).is_none());
        assert!(tokens.verify(&signed(Algorithm::HS512, now() + 60)).is_none());
    }
}
