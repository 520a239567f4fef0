case $- in
  *i*)
    if (unset TMOUT) 2>/dev/null; then
      if [ -n "${BASH_VERSION-}" ]; then
        declare -xr TMOUT=@SECONDS@
      else
        TMOUT=@SECONDS@
        export TMOUT
        readonly TMOUT
      fi
    fi
    ;;
esac
