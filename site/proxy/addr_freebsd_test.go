package proxy

// second is another address of the loopback interface: there is none.
const second = ""
