"""How a client speaks TLS: whom it trusts, and who it is."""

import ssl


def tls_context(
    ca: str | None = None, cert: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """Return what clients take as `tls`; raise ValueError with a sentence where that cannot be.

    `ca` is a file of authorities to trust instead of those of the machine, `cert` and `key` are the
    certificate that this client shows and its private key; `key` may be in the file of `cert`.
    """
    if key is not None and cert is None:
        raise ValueError("a private key needs its certificate beside it")
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{ca} cannot be used as authorities: {_reason(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert is not None:
        try:
            context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            files = cert if key is None else f"{cert} and {key}"
            raise ValueError(
                f"{files} cannot be used as a certificate and its key: {_reason(error)}"
            ) from error
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not in PEM form").replace("_", " ").lower()
    return error.strerror or str(error)
