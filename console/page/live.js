// A Live is the stream of what the node tells, and how that goes. Its states are
// "connecting", "live", "stalled", "reconnecting" and "paused".

const patience = 5000; // ms without a status, which comes every second
const retry = 3000; // ms until a refused stream is asked for again

export class Live {
  constructor({ url, status, history, state, fault }) {
    Object.assign(this, { url, on: { status, history, state, fault }, state: "", last: 0, seen: "", paused: false });
    // A page that nobody sees costs nothing.
    document.addEventListener("visibilitychange", () => this.turn());
    setInterval(() => this.look(), 500);
    this.turn();
  }

  pause(paused) {
    this.paused = paused;
    this.turn();
  }

  // turn opens or closes the stream, as it should be.
  turn() {
    const wanted = !this.paused && document.visibilityState !== "hidden";
    if (wanted && !this.stream) this.open();
    if (!wanted) this.close();
    if (this.paused) this.set("paused");
  }

  open() {
    clearTimeout(this.timer);
    this.set(this.last ? "reconnecting" : "connecting");
    const stream = this.stream = new EventSource(this.url);
    const receive = (name, handle) => stream.addEventListener(name, event => {
      if (stream === this.stream) handle(JSON.parse(event.data));
    });
    receive("status", status => {
      this.last = Date.now();
      this.set("live");
      this.on.status(status);
    });
    receive("history", series => this.on.history(series));
    receive("fault", fault => this.on.fault(fault.error));
    stream.addEventListener("error", () => {
      if (stream !== this.stream) return;
      this.set("reconnecting");
      // A browser comes back by itself after a broken stream, not after a refusal.
      if (stream.readyState === EventSource.CLOSED) {
        this.close();
        this.timer = setTimeout(() => this.turn(), retry);
      }
    });
  }

  close() {
    clearTimeout(this.timer);
    this.stream?.close();
    this.stream = undefined;
  }

  look() {
    if (this.state === "live" && Date.now() - this.last > patience) this.set("stalled");
    this.on.state(this.state, this.last ? (Date.now() - this.last) / 1000 : NaN);
  }

  set(state) {
    this.state = state;
    this.on.state(state, this.last ? (Date.now() - this.last) / 1000 : NaN);
  }
}
