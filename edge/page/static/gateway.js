// What the gateway said of itself last, for everybody on the page.
export const gateway = { status: null };

export const isOnline = () => gateway.status?.uplink.state === "streaming";
export const hasCloud = () => gateway.status?.uplink.state !== "not configured";
