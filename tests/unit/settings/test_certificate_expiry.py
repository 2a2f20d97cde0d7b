"""The end of a certificate, against what OpenSSL says of it."""

import shutil
import ssl
import subprocess

import pytest

from relay.settings.secret_files import expiry

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def certificate(folder, days, name="relay.example"):
    path = folder / f"{days}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", folder / "key.pem", "-out", path, "-days", str(days), "-subj", f"/CN={name}"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return path


def by_openssl(path):
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate", "-in", path], capture_output=True, text=True, check=True
    )
    return ssl.cert_time_to_seconds(done.stdout.removeprefix("notAfter=").strip())


@pytest.mark.parametrize("days", [1, 90, 365 * 40], ids=["tomorrow", "a quarter", "after 2049"])
def test_the_end_is_what_openssl_says(tmp_path, days):
    path = certificate(tmp_path, days)
    assert expiry(path) == by_openssl(path)


def test_of_a_chain_the_first_counts_whatever_stands_before_it(tmp_path):
    own, root = certificate(tmp_path, 10), certificate(tmp_path, 3000)
    chain = tmp_path / "chain.pem"
    chain.write_text("subject=CN = élan\n" + own.read_text() + root.read_text())
    assert expiry(chain) == by_openssl(own)


@pytest.mark.parametrize("cut", [0, 40, 300, 500])
def test_what_is_no_certificate_is_said_with_its_path(tmp_path, cut):
    path = tmp_path / "cut.pem"
    text = certificate(tmp_path, 10).read_text()
    path.write_text(text[:cut] + "\n-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match=r"cut\.pem holds no certificate"):
        expiry(path)


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(OSError):
        expiry(tmp_path / "gone.pem")
