/* Lets the search work on pages opened from a disk, where browsers refuse workers: the worker's
   script runs in a hidden frame instead. Does nothing on pages that come from a server. */
if (location.protocol === "file:") {
  window.Worker = window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.title = "search";
      this.frame.srcdoc =
        "<!doctype html><title>search</title>" +
        "<script>postMessage = data => frameElement.worker.tell(data)</script>" +
        `<script src="${url}"></script>`;
      this.frame.worker = this;
      this.frame.addEventListener("load", () => {
        const waiting = this.waiting;
        this.waiting = null;
        waiting.forEach(data => this.postMessage(data));
      });
      (document.body || document.documentElement).append(this.frame);
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }
    tell(data) {
      this.dispatchEvent(new MessageEvent("message", { data }));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
