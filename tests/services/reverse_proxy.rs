//! The public API behind a reverse proxy, here nginx.

use support::http;
use support::orders::order;
use support::{Env, PrivateNginx};

#[test]
fn behind_a_path_prefix_the_page_its_files_and_the_location_of_an_order_are_found() {
    let env = Env::ready();
    let api = env.api();
    let proxied = format!("location /shop/ {{ proxy_pass {}/; }}", api.url());
    let nginx = PrivateNginx::start(&proxied);
    let base = format!("{}/shop/", nginx.url());

    let page = http::get(&base).expect_status(200).text();
    for (file, content_type) in [("page.css", "text/css"), ("page.js", "text/javascript")] {
        assert!(page.contains(&format!("\"{file}\"")), "{page}");
        let found = http::get(&format!("{base}{file}")).expect_status(200);
        let served = found.header("content-type").expect("a type");
        assert!(served.starts_with(content_type), "{served}");
    }
    let script = http::get(&format!("{base}page.js")).text();
    assert!(script.contains("`api/order/$"), "{script}");

    let posted = http::post(&format!("{base}orders"), order("proxied").to_string());
    let posted = posted.expect_status(202);
    let location = posted.header("location").expect("a location");
    let found = http::get(&format!("{base}{location}")).expect_status(200);
    assert_eq!(found.json(), order("proxied"));
}
