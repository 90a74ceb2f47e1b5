//! How MongoDB is spoken to, whatever its URL wishes: what is acknowledged is safe, and what is read
//! is what was acknowledged.

use std::time::Duration;

use common::Secret;
use mongodb::{
    Client,
    error::ErrorKind,
    options::{Acknowledgment, ClientOptions, ReadPreference, SelectionCriteria, WriteConcern},
};

/// For the search for a server, and for a connection to it, unless the URL says otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of the server at `url`. Connects when first used.
///
/// # Errors
/// Only on an unusable URL, of which nothing is repeated: where its password ends is just what cannot be told.
pub async fn client(url: &Secret) -> anyhow::Result<Client> {
    let mut options = ClientOptions::parse(url.expose()).await.map_err(|error| match *error.kind {
        ErrorKind::DnsResolve { .. } => anyhow::Error::from(error).context("the MongoDB URL's host has no servers"),
        _ => anyhow::anyhow!(
            "not a usable MongoDB URL: it looks like mongodb://user:password@host:27017/?replicaSet=rs0, with \
             special characters in user and password written as %40 and the like"
        ),
    })?;
    options.app_name.get_or_insert_with(|| "mp3converter".to_owned());
    options.server_selection_timeout.get_or_insert(PATIENCE);
    options.connect_timeout.get_or_insert(PATIENCE);
    // A user is told "safe" on the strength of this.
    options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
    // On a secondary, what was just accepted may not be there yet, and would be taken for lost.
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.read_concern = None;
    Ok(Client::with_options(options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wishes_for_less_safety_do_not_count() {
        let url = "mongodb://h/?w=1&journal=false&readPreference=secondaryPreferred&readConcernLevel=available";
        let client = client(&Secret::new(url.to_owned())).await.expect("a client");
        let (write, database) = (Acknowledgment::Majority, client.database("any"));
        let concern = database.write_concern().expect("set");
        assert_eq!((concern.w.as_ref(), concern.journal), (Some(&write), Some(true)));
        assert_eq!(database.selection_criteria(), Some(&SelectionCriteria::ReadPreference(ReadPreference::Primary)));
        assert_eq!(database.read_concern(), None);
    }

    #[tokio::test]
    async fn no_part_of_a_password_is_repeated() {
        for url in ["mongodb://gw:S3cret?x@mongo/", "mongodb://gw:S3cret/x@mongo/", "mongodb://gw:S3:cret@h:S3cret/"] {
            let error = client(&Secret::new(url.to_owned())).await.expect_err(url);
            let said = format!("{error:#} {error:?}");
            assert!(said.contains("not a usable MongoDB URL") && !said.contains("S3"), "{said}");
        }
    }
}
