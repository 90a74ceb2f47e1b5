//! What the product promises wherever it runs: the same tests on the four services with their
//! servers, and on the all-in-one.

mod answers;
mod chapters;
mod films;
mod forms;
mod limits;
mod names;
mod retention;
mod secrets;
mod strangers;

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
            limits::a_user_has_so_much_room
            limits::a_user_has_so_many_uploads_at_once
            limits::all_users_together_have_so_many_uploads_at_once
            limits::a_user_has_so_many_downloads_and_streams_at_once
            limits::a_user_has_so_many_requests_a_minute
            limits::an_address_is_told_by_a_proxy_of_ours
            limits::an_address_has_so_many_connections
            limits::connections_beyond_so_many_wait
            limits::who_dawdles_is_sent_away
            names::a_name_stays_a_name
            secrets::no_secret_is_logged_or_answered
            strangers::no_route_shows_or_changes_what_is_anothers
            strangers::who_is_kept_out_is_out_at_once
            retention::videos_go_and_mp3s_stay
            forms::a_form_takes_no_more_memory_than_a_piece_of_its_film
            forms::a_head_has_an_end
            forms::an_upload_that_was_given_up_leaves_nothing
            retention::records_go_with_all_their_files_when_their_owner_knows
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
