//! Every route, once: the server and the OpenAPI document are both made from this list.

use utoipa_actix_web::service_config::ServiceConfig;

use super::{admin, affiliate, clicks, customers, docs, ops, postbacks, receipts, redirect};

/// All routes.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(postbacks::get_postback)
        .service(postbacks::post_postback)
        .service(clicks::import_clicks)
        .service(customers::import_customers)
        .service(receipts::list_own_receipts)
        .service(receipts::get_own_receipt)
        .service(redirect::follow)
        .service(affiliate::list_own_conversions)
        .service(affiliate::list_own_commissions)
        .service(affiliate::explain_own_commission)
        .service(affiliate::list_own_deliveries)
        .service(affiliate::list_own_payouts)
        .configure(setup)
        .configure(looking)
        .configure(paying)
        .service(ops::livez)
        .service(ops::readyz)
        .service(ops::metrics)
        .service(docs::get_openapi)
        .service(docs::get_docs)
        .service(docs::get_problems);
}

/// What admins set up.
fn setup(config: &mut ServiceConfig<'_>) {
    config
        .service(admin::operators::create_operator)
        .service(admin::operators::list_operators)
        .service(admin::operators::change_operator)
        .service(admin::sources::create_source)
        .service(admin::sources::list_sources)
        .service(admin::sources::change_source)
        .service(admin::sources::create_source_secret)
        .service(admin::programs::create_program)
        .service(admin::programs::list_programs)
        .service(admin::programs::change_program)
        .service(admin::goals::create_goal)
        .service(admin::goals::list_goals)
        .service(admin::plans::create_plan)
        .service(admin::plans::list_plans)
        .service(admin::plans::create_plan_version)
        .service(admin::plans::list_plan_versions)
        .service(admin::plans::simulate_plan)
        .service(admin::fx_rates::create_fx_rate)
        .service(admin::fx_rates::list_fx_rates)
        .service(admin::affiliates::create_affiliate)
        .service(admin::affiliates::list_affiliates)
        .service(admin::affiliates::change_affiliate)
        .service(admin::agreements::create_agreement)
        .service(admin::agreements::list_agreements)
        .service(admin::links::create_link)
        .service(admin::links::list_links)
        .service(admin::links::change_link)
        .service(admin::coupons::create_coupon)
        .service(admin::coupons::list_coupons)
        .service(admin::coupons::change_coupon)
        .service(admin::keys::create_key)
        .service(admin::keys::list_keys)
        .service(admin::keys::revoke_key)
        .service(admin::endpoints::create_endpoint)
        .service(admin::endpoints::list_endpoints)
        .service(admin::endpoints::change_endpoint)
        .service(admin::endpoints::create_endpoint_secret);
}

/// What admins look at.
fn looking(config: &mut ServiceConfig<'_>) {
    config
        .service(admin::receipts::list_receipts)
        .service(admin::receipts::get_receipt)
        .service(admin::conversions::list_conversions)
        .service(admin::conversions::get_conversion)
        .service(admin::conversions::change_conversion_status)
        .service(admin::customers::list_customers)
        .service(admin::customers::get_customer)
        .service(admin::customers::rebind_customer)
        .service(admin::commissions::list_commissions)
        .service(admin::commissions::get_commission)
        .service(admin::commissions::explain_commission)
        .service(admin::deliveries::list_deliveries)
        .service(admin::deliveries::get_delivery)
        .service(admin::deliveries::replay_delivery)
        .service(admin::deliveries::acknowledge_delivery)
        .service(admin::receipts::replay_receipt)
        .service(admin::replays::create_replay)
        .service(admin::replays::list_replays)
        .service(admin::replays::get_replay)
        .service(admin::replays::cancel_replay)
        .service(admin::alerts::list_alerts);
}

/// How affiliates are paid.
fn paying(config: &mut ServiceConfig<'_>) {
    config
        .service(admin::payouts::create_payout)
        .service(admin::payouts::list_payouts)
        .service(admin::payouts::get_payout)
        .service(admin::payouts::list_payout_items)
        .service(admin::payouts::submit_payout)
        .service(admin::payouts::approve_payout)
        .service(admin::payouts::process_payout)
        .service(admin::payouts::send_payout)
        .service(admin::payouts::complete_payout)
        .service(admin::payouts::fail_payout)
        .service(admin::payouts::return_payout)
        .service(admin::payouts::cancel_payout)
        .service(admin::payout_terms::put_payout_terms)
        .service(admin::payout_terms::list_payout_terms);
}
