//! What the product promises wherever it runs: the same tests on the four services with their
//! servers, and on the all-in-one.

mod answers;
mod chapters;
mod films;

macro_rules! promises {
    ($product:ty) => {
        promises! { $product =>
            films::one_users_film
            films::twenty_uploads_over_two_workers_are_converted_once_each
            films::two_users_cannot_see_each_other
            films::what_cannot_be_converted_fails_in_plain_words
            films::a_conversion_can_be_cancelled
            chapters::a_film_becomes_a_zip_of_its_chapters
            answers::every_answer_of_the_gateway
            answers::a_client_that_goes_away_leaves_nothing
        }
    };
    ($product:ty => $($group:ident::$promise:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            crate::$group::$promise::<$product>().await;
        }
    )*};
}

mod services {
    promises!(e2e::App);
}

mod all_in_one {
    promises!(e2e::AllInOne);
}
