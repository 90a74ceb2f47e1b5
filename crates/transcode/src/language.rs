//! Languages by their ISO 639 codes, of which some have three: `de`, `deu` and `ger` are the same.

/// Each language's code of two letters and its terminological one of three. Source: ISO 639-1 and
/// 639-2, as registered with the Library of Congress.
const SHORT: &str = "\
    aa=aar ab=abk ae=ave af=afr ak=aka am=amh an=arg ar=ara as=asm av=ava ay=aym az=aze ba=bak be=bel bg=bul \
    bi=bis bm=bam bn=ben bo=bod br=bre bs=bos ca=cat ce=che ch=cha co=cos cr=cre cs=ces cu=chu cv=chv cy=cym \
    da=dan de=deu dv=div dz=dzo ee=ewe el=ell en=eng eo=epo es=spa et=est eu=eus fa=fas ff=ful fi=fin fj=fij \
    fo=fao fr=fra fy=fry ga=gle gd=gla gl=glg gn=grn gu=guj gv=glv ha=hau he=heb hi=hin ho=hmo hr=hrv ht=hat \
    hu=hun hy=hye hz=her ia=ina id=ind ie=ile ig=ibo ii=iii ik=ipk io=ido is=isl it=ita iu=iku ja=jpn jv=jav \
    ka=kat kg=kon ki=kik kj=kua kk=kaz kl=kal km=khm kn=kan ko=kor kr=kau ks=kas ku=kur kv=kom kw=cor ky=kir \
    la=lat lb=ltz lg=lug li=lim ln=lin lo=lao lt=lit lu=lub lv=lav mg=mlg mh=mah mi=mri mk=mkd ml=mal mn=mon \
    mr=mar ms=msa mt=mlt my=mya na=nau nb=nob nd=nde ne=nep ng=ndo nl=nld nn=nno no=nor nr=nbl nv=nav ny=nya \
    oc=oci oj=oji om=orm or=ori os=oss pa=pan pi=pli pl=pol ps=pus pt=por qu=que rm=roh rn=run ro=ron ru=rus \
    rw=kin sa=san sc=srd sd=snd se=sme sg=sag sh=hbs si=sin sk=slk sl=slv sm=smo sn=sna so=som sq=sqi sr=srp \
    ss=ssw st=sot su=sun sv=swe sw=swa ta=tam te=tel tg=tgk th=tha ti=tir tk=tuk tl=tgl tn=tsn to=ton tr=tur \
    ts=tso tt=tat tw=twi ty=tah ug=uig uk=ukr ur=urd uz=uzb ve=ven vi=vie vo=vol wa=wln wo=wol xh=xho yi=yid \
    yo=yor za=zha zh=zho zu=zul";

/// Bibliographic codes, which Matroska uses, where they differ.
const BIBLIOGRAPHIC: &str = "\
    alb=sqi arm=hye baq=eus bur=mya chi=zho cze=ces dut=nld fre=fra geo=kat ger=deu gre=ell ice=isl mac=mkd \
    mao=mri may=msa per=fas rum=ron slo=slk tib=bod wel=cym";

/// Whether a container's code means the wished language. Containers may add a region: `pt-BR`.
pub(crate) fn is(there: &str, wished: &str) -> bool {
    let bare = there.split(['-', '_']).next().unwrap_or_default();
    terminological(bare) == terminological(wished)
}

/// The terminological code of three letters, or what was given where there is none.
fn terminological(code: &str) -> String {
    let code = code.to_ascii_lowercase();
    let pairs = SHORT.split(' ').chain(BIBLIOGRAPHIC.split(' ')).filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(other, _)| *other == code).map_or(code.clone(), |(_, code)| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_codes_of_a_language_mean_it() {
        for (there, wished) in [
            ("ger", "de"),
            ("deu", "de"),
            ("de", "ger"),
            ("pt-BR", "por"),
            ("ENG", "en"),
            ("zho", "chi"),
            ("nds", "nds"),
        ] {
            assert!(is(there, wished), "{there} is {wished}");
        }
        for (there, wished) in [("eng", "de"), ("nds", "de"), ("", "de"), ("slk", "sl")] {
            assert!(!is(there, wished), "{there} is not {wished}");
        }
        assert_eq!((SHORT.split(' ').count(), BIBLIOGRAPHIC.split(' ').count()), (184, 20));
    }
}
