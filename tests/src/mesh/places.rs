//! Addresses on loopback that nobody else has: for a proxy, and for each of the two copies behind it.
//!
//! A proxy whose address is that of a WorkloadEntry is taken for it, so each process has an address of its own.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

/// Where the copies listen, each at its address.
pub(super) const COPY_PORT: u16 = 8080;
/// Where the proxy listens for VirtualServices.
pub(super) const ISTIO_PORT: u16 = 8080;
/// Where the proxy listens for HTTPRoutes.
pub(super) const ROUTE_PORT: u16 = 8081;
/// Where the proxy tells of itself.
pub(super) const ADMIN_PORT: u16 = 15000;

/// How many triples of addresses there are.
const ROOM: u32 = 120 * 250;

/// The addresses of one mesh.
pub(super) struct Places {
    /// The proxy's.
    pub(super) proxy: Ipv4Addr,
    /// Those of the two sides, in their order.
    pub(super) sides: [Ipv4Addr; 2],
    /// The sockets of the two sides, at their addresses.
    pub(super) listeners: [TcpListener; 2],
}

/// Takes addresses that no process listens at.
pub(super) fn take() -> Places {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(31);
    for _ in 0..ROOM {
        let at = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % ROOM;
        let [high, low] = [at / 250 + 2, at % 250 + 1].map(|part| u8::try_from(part).unwrap_or(1));
        let [proxy, blue, green] = [3, 1, 2].map(|last| Ipv4Addr::new(127, high, low, last));
        let bind = |address, port| TcpListener::bind((address, port)).ok();
        let is_free = [ISTIO_PORT, ROUTE_PORT, ADMIN_PORT].map(|port| bind(proxy, port).is_some());
        if let (Some(one), Some(two), [true, true, true]) =
            (bind(blue, COPY_PORT), bind(green, COPY_PORT), is_free)
        {
            return Places { proxy, sides: [blue, green], listeners: [one, two] };
        }
    }
    panic!("no three addresses of loopback are free");
}
