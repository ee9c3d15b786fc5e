//! The routes of the public API, and what every request passes through.
//!
//! Owns the table of paths, the page and the few fixed responses. The page's script and style are
//! files of their own, so that its content security policy needs no exception.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tower::ServiceExt;

use super::App;
use super::admission;
use super::get_order::{self, get_order};
use super::post_order::post_order;
use super::problem::Problem;
use super::response::{JSON, response};
use crate::access::Scope;

const ORDERS: &str = "/orders";
const ORDER: &str = "/api/order/{uid}";

/// No source but this server, and no frames.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The requests that every instance is for, and how they are answered.
pub const EXPECTED: [(&str, Method, u16); 9] = [
    (ORDERS, Method::POST, 202),
    (ORDERS, Method::POST, 400),
    (ORDERS, Method::POST, 422),
    (ORDERS, Method::POST, 503),
    (ORDER, Method::GET, 200),
    (ORDER, Method::GET, 202),
    (ORDER, Method::GET, 404),
    (ORDER, Method::GET, 503),
    ("/healthz", Method::GET, 200),
];

/// Every route. A known path answers other methods with 405 and `Allow`.
pub fn router(app: Arc<App>) -> Router {
    let style = || fixed("text/css; charset=utf-8", include_str!("page.css"));
    let script = || fixed("text/javascript; charset=utf-8", include_str!("page.js"));
    let description = || fixed(JSON, include_str!("openapi.json"));
    // As in go-orders: the process answers. Readiness is on the operators' port.
    let healthz = || fixed("text/plain; charset=utf-8", "ok\n");
    Router::new()
        // `respond` answers it; here it is known for 405 and `Allow`.
        .route(ORDERS, post(|| async { Problem::MethodNotAllowed }))
        .route(ORDER, get(get_order))
        .route("/", get(page))
        .route("/page.css", get(style))
        .route("/page.js", get(script))
        .route("/healthz", get(healthz))
        .route("/openapi.json", get(description))
        .fallback(|| async { Problem::NoSuchPath })
        .method_not_allowed_fallback(|| async { Problem::MethodNotAllowed })
        .with_state(app)
}

/// Answers one request of the client at this address and counts it.
pub async fn respond(
    app: Arc<App>,
    router: Router,
    client: IpAddr,
    request: Request,
) -> Response<Body> {
    let started = Instant::now();
    let route = route(request.uri().path());
    let method = request.method().clone();
    let admitted = admission::check(&app.settings.access, scope(route, &method), &request);
    // Nearly all requests of a busy instance are POSTs of orders. They bypass the router, which boxes
    // a future for each request.
    let response = if let Err(problem) = admitted {
        admission::refuse(request, problem).await.into_response()
    } else if route == ORDERS && method == Method::POST {
        post_order(&app, client, request).await.into_response()
    } else {
        match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    app.metrics.answered(
        route,
        &method,
        response.status().as_u16(),
        started.elapsed(),
    );
    response
}

/// The route's label in the metrics. There are few, whatever paths are requested.
fn route(path: &str) -> &'static str {
    match path {
        ORDERS => ORDERS,
        "/healthz" => "/healthz",
        "/" | "/page.css" | "/page.js" | "/openapi.json" => "/",
        path if path.starts_with(get_order::PATH) => ORDER,
        _ => "other",
    }
}

/// What a request needs. The page, its description and /healthz hold no data; other methods are
/// answered 405.
fn scope(route: &'static str, method: &Method) -> Option<Scope> {
    match route {
        ORDERS if method == Method::POST => Some(Scope::OrdersWrite),
        ORDER if matches!(*method, Method::GET | Method::HEAD) => Some(Scope::OrdersRead),
        _ => None,
    }
}

async fn page() -> Response<Body> {
    let mut response = fixed("text/html; charset=utf-8", include_str!("page.html")).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn fixed(content_type: &'static str, body: &'static str) -> Response<Body> {
    let mut response = response(StatusCode::OK, content_type, body);
    let no_cache = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(CACHE_CONTROL, no_cache);
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::order::{Column, Delivery, Item, Order, Payment, TableRow};

    #[test]
    fn an_unknown_path_gets_no_label_of_its_own() {
        assert_eq!(route("/api/order/a%2Fb"), "/api/order/{uid}");
        assert_eq!(route("/orders"), "/orders");
        assert_eq!(route("/wp-admin"), "other");
    }

    #[test]
    fn whatever_reads_or_posts_orders_needs_its_scope() {
        assert_eq!(scope(ORDERS, &Method::POST), Some(Scope::OrdersWrite));
        assert_eq!(scope(ORDER, &Method::GET), Some(Scope::OrdersRead));
        assert_eq!(scope(ORDER, &Method::HEAD), Some(Scope::OrdersRead));
        for (route, method) in [
            (ORDERS, Method::GET),
            (ORDER, Method::POST),
            ("/", Method::GET),
        ] {
            assert_eq!(scope(route, &method), None, "{method} {route}");
        }
    }

    fn description() -> serde_json::Value {
        serde_json::from_str(include_str!("openapi.json")).expect("it is JSON")
    }

    #[test]
    fn the_description_names_every_field_of_an_order_and_no_other() {
        fn names(columns: &[Column], more: &[&'static str]) -> BTreeSet<&'static str> {
            let fields = columns.iter().map(|column| column.field);
            fields.chain(more.iter().copied()).collect()
        }
        let description = description();
        for (schema, names) in [
            (
                "Order",
                names(Order::COLUMNS, &["delivery", "payment", "items"]),
            ),
            ("Delivery", names(Delivery::COLUMNS, &[])),
            ("Payment", names(Payment::COLUMNS, &[])),
            ("Item", names(Item::COLUMNS, &[])),
        ] {
            for schema in [schema.to_owned(), format!("Stored{schema}")] {
                let properties = &description["components"]["schemas"][&schema]["properties"];
                let described = properties.as_object().expect("it has properties");
                let described: BTreeSet<&str> = described.keys().map(String::as_str).collect();
                assert_eq!(described, names, "{schema}");
            }
        }
    }

    #[test]
    fn the_description_names_every_route() {
        let description = description();
        let paths = description["paths"].as_object().expect("it has paths");
        for path in [
            "/orders",
            "/api/order/{uid}",
            "/healthz",
            "/openapi.json",
            "/",
        ] {
            assert!(paths.contains_key(path), "{path}");
        }
    }
}
