package proxy

// second is another address of the loopback interface.
const second = "127.0.0.2"
