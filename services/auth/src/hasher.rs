//! Argon2 in memory that is used again and again.

use std::cell::RefCell;

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{
        CustomizedPasswordHasher, Error, PasswordHasher, Result,
        phc::{Output, ParamsString, PasswordHash, Salt},
    },
};

/// Makes and verifies argon2id hashes at the usual cost; verifies those of any other cost.
///
/// Blocks are aligned to 64 bytes, and the system's allocator (glibc before 2.38) does not find its
/// way back to aligned memory that was freed: allocated for each hash, 19 MiB came to hundreds.
#[derive(Default)]
pub struct Hasher {
    blocks: RefCell<Vec<Block>>,
}

impl PasswordHasher<PasswordHash> for Hasher {
    fn hash_password_with_salt(&self, password: &[u8], salt: &[u8]) -> Result<PasswordHash> {
        self.hash_password_customized(password, salt, None, None, Params::default())
    }
}

impl CustomizedPasswordHasher<PasswordHash> for Hasher {
    type Params = Params;

    fn hash_password_customized(
        &self,
        password: &[u8],
        salt: &[u8],
        algorithm: Option<&str>,
        version: Option<u32>,
        params: Params,
    ) -> Result<PasswordHash> {
        let algorithm = algorithm.map(str::parse::<Algorithm>).transpose()?.unwrap_or_default();
        let version = version.map(Version::try_from).transpose()?.unwrap_or_default();
        let mut buffer = [0; Output::MAX_LENGTH];
        let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let output = buffer.get_mut(..length).ok_or(Error::OutputSize)?;

        let mut blocks = self.blocks.borrow_mut();
        blocks.resize(params.block_count(), Block::new());
        if params.block_count() < blocks.capacity() {
            // Somebody's costlier hash is no reason to keep as much.
            blocks.shrink_to_fit();
        }
        let argon2 = Argon2::new(algorithm, version, params.clone());
        argon2.hash_password_into_with_memory(password, salt, output, &mut blocks[..])?;
        Ok(PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(&params)?,
            salt: Some(Salt::new(salt)?),
            hash: Some(Output::new(output)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use argon2::{
        Argon2, Params,
        password_hash::{PasswordHasher, PasswordVerifier},
    };

    use super::Hasher;

    #[test]
    fn hashes_are_those_of_a_hasher_with_fresh_memory() {
        let hasher = Hasher::default();
        for (m, t, p) in [(19_456, 2, 1), (64, 1, 1), (512, 3, 2), (19_456, 2, 1)] {
            let other = Argon2::from(Params::new(m, t, p, None).expect("parameters"));
            let theirs = other.hash_password(b"correct horse").expect("a hash");
            hasher.verify_password(b"correct horse", &theirs).expect("the same");
            hasher.verify_password(b"wrong horse", &theirs).expect_err("another");
            let ours = hasher.hash_password(b"correct horse").expect("a hash");
            Argon2::default().verify_password(b"correct horse", &ours).expect("the same");
        }
    }
}
